#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "model/tokenizer/json_field.hpp"
#include "model/tokenizer/pretokenizer.hpp"

namespace quench::model::tokenization {

struct StringHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const noexcept {
    return std::hash<std::string_view>{}(text);
  }
};
using TokenIds = std::unordered_map<std::string, std::int32_t, StringHash, std::equal_to<>>;

// Byte-pair encoding: characters of a word become tokens, then the pair of neighbours with the
// lowest merge rank (the leftmost of them) is merged until no pair has a rank.
class BytePairEncoder {
 public:
  // The object "model" of tokenizer.json. Throws DataError for other models, options that are not
  // supported (dropout, affixes), ids given twice, merges of unknown tokens.
  explicit BytePairEncoder(const JsonField& model);
  BytePairEncoder(BytePairEncoder&&) = default;  // not copyable: tokens_ views the keys of ids_
  BytePairEncoder& operator=(BytePairEncoder&&) = default;

  // Appends the ids of all words; O(n log n) in the length of a word.
  void encode(const Words& words, std::vector<std::int32_t>& ids) const;

  std::optional<std::int32_t> token_to_id(std::string_view token) const;
  // Empty for ids that no token has.
  std::optional<std::string_view> id_to_token(std::int32_t id) const;
  // Highest id + 1.
  std::int32_t size() const { return static_cast<std::int32_t>(tokens_.size()); }

 private:
  struct Merge {
    std::int32_t rank, id;
  };
  class Merger;

  void read_options(const JsonField& model);
  void read_vocabulary(const JsonField& vocab);
  void read_merges(const JsonField& merges);
  static std::uint64_t pair_key(std::int32_t left, std::int32_t right) {
    return static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint32_t>(right);
  }
  const Merge* find_merge(std::int32_t left, std::int32_t right) const;
  void start_ids(std::string_view word, std::vector<std::int32_t>& ids) const;
  bool append_bytes(std::string_view character, std::vector<std::int32_t>& ids) const;

  TokenIds ids_;
  std::vector<std::string_view> tokens_;
  std::unordered_map<std::uint64_t, Merge> merges_;
  std::vector<std::optional<std::int32_t>> byte_ids_;  // of <0x00> ... <0xFF>; empty: no fallback
  std::optional<std::int32_t> unknown_id_;
  bool fuse_unknown_ = false;
  bool ignore_merges_ = false;
};

}  // namespace quench::model::tokenization
