#include "stages/tasks/prompts.hpp"

#include "cluster/error.hpp"

namespace quench::tasks {

Tokens Prompts::with_prefix(const std::string& text) const {
  Tokens tokens = tokenizer_.special_prefix();
  const Tokens ids = tokenizer_.encode(text);
  tokens.insert(tokens.end(), ids.begin(), ids.end());
  return tokens;
}

Tokens Prompts::prompt(const std::string& text) const {
  return is_chat() ? chat_->encode_user_turn(tokenizer_, text) : with_prefix(text);
}

Tokens Prompts::continuation(const std::string& text) const {
  Tokens ids = tokenizer_.encode(is_chat() ? text : " " + text);
  if (ids.empty()) throw DataError("option '" + text + "': the tokenizer makes no token of it");
  return ids;
}

}  // namespace quench::tasks
