#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "model/tokenizer/json_field.hpp"
#include "model/tokenizer/pattern.hpp"

namespace quench::model::tokenization {

// The words of a text, in order: ranges of `text`, none empty, not always covering it.
struct Words {
  std::string text;
  std::vector<Span> spans;
  bool starts_input = false;  // does `text` begin where the user's input does?
};

// Cuts a normalised text into the words within which tokens are merged.
class PreTokenizer {
 public:
  PreTokenizer() = default;
  // Types Sequence, Split, ByteLevel, Digits, Metaspace, Whitespace, WhitespaceSplit. Throws
  // DataError for any other.
  static PreTokenizer from_json(const JsonField& field);

  Words apply(std::string text, bool starts_input) const;

 private:
  enum class Behavior : std::uint8_t {
    isolated,
    removed,
    merged_with_previous,
    merged_with_next,
    contiguous
  };
  struct Split {
    Pattern pattern;
    Behavior behavior;
    bool invert;
  };
  struct Prefix {
    std::string text;
    bool first_only;  // only before the word that starts the input
  };
  struct Replace {
    Pattern pattern;
    std::string content;
  };
  struct ByteAlphabet {};
  using Step = std::variant<Split, Prefix, Replace, ByteAlphabet>;

  void add(const JsonField& field);
  void add_split(const JsonField& field);
  void add_byte_level(const JsonField& field);
  void add_metaspace(const JsonField& field);
  void add_regex(std::string_view pattern, Behavior behavior, bool invert = false);

  static void run(const Split& split, Words& words);
  static void run(const Prefix& prefix, Words& words);
  static void run(const Replace& replace, Words& words);
  static void run(const ByteAlphabet& step, Words& words);

  std::vector<Step> steps_;
};

}  // namespace quench::model::tokenization
