#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "stages/types.hpp"

// Token frequencies of general text, for a concept that has no others to contrast with. Local:
// nothing here communicates.
namespace quench::selection {

struct WordFrequency {
  std::string word;
  double share = 0;  // of sentences that hold it
};

// Lines WORD, tab, COUNT a million sentences; those that begin with # do not count. An empty path
// is the built-in table (configs/frequencies/english.tsv). Throws DataError with file, line and
// field.
std::vector<WordFrequency> read_frequencies(const std::filesystem::path& file);

// In how many of `sentences` general sentences a token is to be expected: words count for each of
// their tokens, with and without a leading space, in small letters and capitalised, so that a token
// is never taken for rarer than it is.
DocumentFrequencies general_frequencies(
    std::span<const WordFrequency> words,
    const std::function<std::vector<std::int32_t>(const std::string&)>& encode,
    std::int64_t sentences);

}  // namespace quench::selection
