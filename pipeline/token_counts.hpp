#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "model/tokenizer.hpp"
#include "stages/corpus/catalog.hpp"

namespace quench::pipeline {

// Different tokens of a catalog's texts: the rows of factorisations. Estimates but for `neutral`,
// since few concepts are read.
struct TokenCounts {
  std::int64_t neutral = 0;  // of the neutral text, which is part of all the others
  std::int64_t mean = 0;     // of a concept's sentences and the neutral ones
  std::int64_t largest = 0;  // of the concept that has most
  std::int64_t catalog = 0;  // of all concepts together
};

// Reads the neutral text, the concept with most text, and some evenly spread over the lengths of
// text. Local. Throws DataError when the catalog changed after it had been indexed.
TokenCounts count_tokens(const std::filesystem::path& catalog, const model::Tokenizer& tokenizer,
                         const std::vector<corpus::ConceptEntry>& concepts,
                         const corpus::SharedText& shared);

}  // namespace quench::pipeline
