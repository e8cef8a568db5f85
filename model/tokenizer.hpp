#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quench::model {

// The tokenizer of a checkpoint, read from its tokenizer.json, with the same ids and texts as
// Hugging Face's `tokenizers`. Immutable: copies share it, and all members may be called from
// several threads at once.
class Tokenizer {
 public:
  // Throws DataError naming file and field for anything broken or not supported: unreadable, not
  // JSON, another model than BPE, an unknown normalizer, pre-tokenizer, post-processor or decoder,
  // a regular expression without translation, ids given twice, merges of unknown tokens. The fields
  // "truncation" and "padding" are not applied.
  static Tokenizer from_file(const std::filesystem::path& tokenizer_json);

  // Texts of special tokens within the text become those tokens, as in the reference.
  // `add_special_tokens` adds special_prefix() and special_suffix(). Throws DataError, with the
  // byte offset, for text that is not UTF-8.
  std::vector<std::int32_t> encode(std::string_view utf8, bool add_special_tokens = false) const;

  // Ids that no token has are passed over, as in the reference; bytes that are no UTF-8 become
  // U+FFFD.
  std::string decode(std::span<const std::int32_t> ids, bool skip_special_tokens = true) const;

  // Throws DataError for an id that no token has.
  std::string id_to_token(std::int32_t id) const;
  std::optional<std::int32_t> token_to_id(std::string_view token) const;

  // Highest id + 1, added tokens included.
  std::int64_t vocab_size() const;
  bool is_special(std::int32_t id) const;

  // What the checkpoint wants before (BOS) and after every text.
  const std::vector<std::int32_t>& special_prefix() const;
  const std::vector<std::int32_t>& special_suffix() const;

 private:
  struct Parts;
  explicit Tokenizer(std::shared_ptr<const Parts> parts) : parts_(std::move(parts)) {}

  std::shared_ptr<const Parts> parts_;
};

}  // namespace quench::model
