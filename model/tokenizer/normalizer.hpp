#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "model/tokenizer/json_field.hpp"
#include "model/tokenizer/pattern.hpp"

namespace quench::model::tokenization {

// What happens to a text before it is cut into words: replacements and a prefix.
class Normalizer {
 public:
  Normalizer() = default;
  // Types Sequence, Replace, Prepend. Throws DataError for any other.
  static Normalizer from_json(const JsonField& field);

  std::string apply(std::string_view text) const;

 private:
  struct Replace {
    Pattern pattern;
    std::string content;
  };
  struct Prepend {
    std::string prefix;
  };
  void add(const JsonField& field);

  std::vector<std::variant<Replace, Prepend>> steps_;
};

}  // namespace quench::model::tokenization
