#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "cluster/error.hpp"
#include "model/chat_template.hpp"
#include "model/tokenizer.hpp"

using quench::model::ChatTemplate;
using quench::model::Tokenizer;

namespace {

nlohmann::json decoded(const Tokenizer& tokenizer, const std::vector<std::int32_t>& ids) {
  return {{"text", tokenizer.decode(ids)}, {"special_text", tokenizer.decode(ids, false)}};
}

nlohmann::json encoded(const Tokenizer& tokenizer, const std::optional<ChatTemplate>& chat,
                       const std::string& text) {
  const auto ids = tokenizer.encode(text);
  nlohmann::json answer = decoded(tokenizer, ids);
  answer["ids"] = ids;
  answer["special_ids"] = tokenizer.encode(text, true);
  if (chat) {
    answer["chat_text"] = chat->render_user_turn(text);
    answer["chat_ids"] = chat->encode_user_turn(tokenizer, text);
  }
  return answer;
}

}  // namespace

// tokenizer_driver MODEL_DIR: for each JSON line on standard input a JSON line; a string is encoded
// (and decoded again, and put into the model's chat template), an array of ids is decoded.
int main(int argc, char** argv) try {
  if (argc != 2) throw quench::ConfigError("usage: tokenizer_driver MODEL_DIR");
  const std::filesystem::path dir = argv[1];
  const Tokenizer tokenizer = Tokenizer::from_file(dir / "tokenizer.json");
  const auto chat = ChatTemplate::detect(dir, tokenizer);
  for (std::string line; std::getline(std::cin, line);) {
    const auto request = nlohmann::json::parse(line);
    std::cout << (request.is_string()
                      ? encoded(tokenizer, chat, request.get<std::string>())
                      : decoded(tokenizer, request.get<std::vector<std::int32_t>>()))
              << "\n";
  }
  return 0;
} catch (const quench::Error& error) {
  std::cerr << error.what() << "\n";
  return static_cast<int>(error.code());
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return static_cast<int>(quench::ExitCode::internal);
}
