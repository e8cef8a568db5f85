#pragma once

#include <cstdint>
#include <vector>

#include "model/tokenizer/json_field.hpp"

namespace quench::model::tokenization {

// The special tokens that belong before and after a single text.
struct Affixes {
  std::vector<std::int32_t> prefix, suffix;

  // The object "post_processor" of tokenizer.json: types Sequence, TemplateProcessing, ByteLevel
  // (which adds nothing). Throws DataError for any other.
  static Affixes from_json(const JsonField& field);
};

}  // namespace quench::model::tokenization
