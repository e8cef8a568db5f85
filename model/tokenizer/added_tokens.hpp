#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "model/tokenizer/bpe.hpp"
#include "model/tokenizer/json_field.hpp"
#include "model/tokenizer/normalizer.hpp"
#include "model/tokenizer/pattern.hpp"

namespace quench::model::tokenization {

// Tokens that are found in a text as they stand, before it is cut into words.
class AddedTokens {
 public:
  // A piece of a text: a token, or text between tokens.
  struct Piece {
    Span span;
    std::optional<std::int32_t> id;
  };

  AddedTokens() = default;
  // The array "added_tokens" of tokenizer.json. Throws DataError when an id or a content
  // contradicts another one or the model's vocabulary.
  AddedTokens(const JsonField& list, const BytePairEncoder& model, const Normalizer& normalizer);

  // Leftmost-longest matches of the tokens that are sought before, or after, normalisation, and the
  // text between; tokens flagged lstrip or rstrip take the white space beside them.
  std::vector<Piece> split_raw(std::string_view text) const { return split(raw_, text); }
  std::vector<Piece> split_normalized(std::string_view text) const {
    return split(normalized_, text);
  }

  std::optional<std::int32_t> token_to_id(std::string_view content) const;
  std::optional<std::string_view> id_to_token(std::int32_t id) const;
  // What decoders are given for the id: the content, normalised where the token is.
  std::optional<std::string_view> decoder_input(std::int32_t id) const;
  bool is_special(std::int32_t id) const;
  // Highest id + 1.
  std::int64_t size() const { return size_; }

 private:
  struct Token {
    std::string content, sought;  // sought: as it stands in the text that it is searched in
    bool single_word, lstrip, rstrip, special;
  };
  // Texts to find, each with an id.
  struct Finder {
    TokenIds ids;
    std::array<std::vector<std::size_t>, 256> lengths;  // by first byte, longest first

    void add(std::string text, std::int32_t id);
    // The longest one that starts at `at`, or id -1.
    std::pair<std::size_t, std::int32_t> longest_at(std::string_view text, std::size_t at) const;
  };

  std::vector<Piece> split(const Finder& finder, std::string_view text) const;
  static bool stands_alone(const Span& span, std::string_view text);

  std::unordered_map<std::int32_t, Token> tokens_;
  TokenIds ids_;
  Finder raw_, normalized_;
  std::int64_t size_ = 0;
};

}  // namespace quench::model::tokenization
