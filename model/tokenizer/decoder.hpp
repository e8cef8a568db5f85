#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "model/tokenizer/json_field.hpp"
#include "model/tokenizer/pattern.hpp"

namespace quench::model::tokenization {

// Makes tokens into text again.
class Decoder {
 public:
  // Without a decoder tokens are joined by spaces.
  Decoder() = default;
  // Types Sequence, ByteLevel, ByteFallback, Fuse, Metaspace, Replace, Strip. Throws DataError for
  // any other.
  static Decoder from_json(const JsonField& field);

  std::string apply(std::vector<std::string> tokens) const;

 private:
  struct ByteLevel {};
  struct ByteFallback {};
  struct Fuse {};
  struct Metaspace {
    std::string mark;
    bool drop_leading;  // the marks of the first token are no spaces
  };
  struct Replace {
    Pattern pattern;
    std::string content;
  };
  struct Strip {
    std::string character;
    std::int32_t start, stop;  // at most so many are taken away on the left and right
  };
  void add(const JsonField& field);

  using Tokens = std::vector<std::string>;
  static void run(const ByteLevel& step, Tokens& tokens);
  static void run(const ByteFallback& step, Tokens& tokens);
  static void run(const Fuse& step, Tokens& tokens);
  static void run(const Metaspace& step, Tokens& tokens);
  static void run(const Replace& step, Tokens& tokens);
  static void run(const Strip& step, Tokens& tokens);

  bool present_ = false;
  std::vector<std::variant<ByteLevel, ByteFallback, Fuse, Metaspace, Replace, Strip>> steps_;
};

}  // namespace quench::model::tokenization
