#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cluster/error.hpp"
#include "model/tokenizer.hpp"

namespace quench::model {

// How a user's text is put to a model: as its template wants it where it has one, always so, or
// never.
enum class PromptStyle : std::uint8_t { automatic, chat, plain };

// A chat template that cannot be told; plain prompts do without.
class UnsupportedTemplate : public DataError {
 public:
  using DataError::DataError;
};

// How a checkpoint wants one user turn to be written. Its template is recognised by its markers and
// options, never executed; the text is the one that rendering it with a generation prompt gives.
class ChatTemplate {
 public:
  // Reads chat_template.jinja, else "chat_template" of tokenizer_config.json, in `model_dir`.
  // Nothing where there is neither: a base model. Throws DataError for a broken file,
  // UnsupportedTemplate for a template of no known family (gemma, llama3, chatml), and for markers
  // that the tokenizer lacks.
  static std::optional<ChatTemplate> detect(const std::filesystem::path& model_dir,
                                            const Tokenizer& tokenizer);

  // "gemma", "llama3" or "chatml".
  std::string_view family() const { return family_; }

  // The turn as text, special tokens (BOS where the template writes one) as their literal text.
  // Special tokens within `user_text` are not defused, as in the reference.
  std::string render_user_turn(std::string_view user_text) const;

  // The turn as ids, with exactly one BOS where template or tokenizer want one.
  std::vector<std::int32_t> encode_user_turn(const Tokenizer& tokenizer,
                                             std::string_view user_text) const;

 private:
  std::string family_;
  std::string before_, after_;  // the user's text
  bool trims_ = false;
};

}  // namespace quench::model
