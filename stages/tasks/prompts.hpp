#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/chat_template.hpp"
#include "model/tokenizer.hpp"

namespace quench::tasks {

using Tokens = std::vector<std::int32_t>;

// How text becomes what a model reads. Keeps references.
class Prompts {
 public:
  // `chat` null: plain prompts.
  Prompts(const model::Tokenizer& tokenizer, const model::ChatTemplate* chat)
      : tokenizer_(tokenizer), chat_(chat) {}

  bool is_chat() const { return chat_ != nullptr; }
  // One user turn up to where the model answers, or the plain text behind the special prefix.
  Tokens prompt(const std::string& text) const;
  // What may follow a prompt. Throws DataError when the tokenizer makes no token of it.
  Tokens continuation(const std::string& text) const;
  // The text behind what the tokenizer puts before one (BOS).
  Tokens with_prefix(const std::string& text) const;
  std::size_t prefix_size() const { return tokenizer_.special_prefix().size(); }

 private:
  const model::Tokenizer& tokenizer_;
  const model::ChatTemplate* chat_;
};

}  // namespace quench::tasks
