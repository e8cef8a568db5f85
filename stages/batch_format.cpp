#include "stages/batch_format.hpp"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "cluster/log.hpp"

namespace quench {

using nlohmann::json;

namespace {

std::string dump(const json& value) {
  return value.dump(-1, ' ', /*ensure_ascii=*/false, json::error_handler_t::replace);
}

// The content of one line; nothing when it is no good answer.
std::optional<std::string> content_of(const json& line) {
  try {
    if (line.contains("error") && !line["error"].is_null()) return {};
    const auto& response = line.at("response");
    if (response.value("status_code", 200) != 200) return {};
    return response.at("body").at("choices").at(0).at("message").at("content").get<std::string>();
  } catch (const json::exception&) {
    return {};
  }
}

// Empty for what cannot be read as a file.
std::string text_of(const std::filesystem::path& file) {
  std::error_code code;
  if (std::filesystem::is_directory(file, code)) return {};
  std::ifstream stream(file, std::ios::binary);
  std::ostringstream text;
  if (stream) text << stream.rdbuf();
  return text.str();
}

}  // namespace

std::string batch_request(const std::string& id, const std::string& model,
                          const std::string& prompt, std::int64_t max_tokens) {
  const json messages = {{{"role", "user"}, {"content", prompt}}};
  return dump({{"custom_id", id},
               {"method", "POST"},
               {"url", "/v1/chat/completions"},
               {"body",
                {{"model", model},
                 {"messages", messages},
                 {"max_tokens", max_tokens},
                 {"temperature", 0}}}});
}

std::string batch_answer(const std::string& id, const std::string& model,
                         const std::string& content) {
  const json choice = {{"index", 0},
                       {"message", {{"role", "assistant"}, {"content", content}}},
                       {"finish_reason", "stop"}};
  return dump({{"id", "quench-" + id},
               {"custom_id", id},
               {"response",
                {{"status_code", 200},
                 {"request_id", id},
                 {"body",
                  {{"id", id},
                   {"object", "chat.completion"},
                   {"model", model},
                   {"choices", json::array({choice})}}}}},
               {"error", nullptr}});
}

BatchAnswers parse_batch_answers(const std::string& text) {
  BatchAnswers answers;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    if (line.find_first_not_of(" \t\r\n") == std::string::npos) continue;
    const auto record = json::parse(line, nullptr, /*allow_exceptions=*/false);
    const bool named =
        record.is_object() && record.contains("custom_id") && record["custom_id"].is_string();
    const auto content = named ? content_of(record) : std::nullopt;
    if (content)
      answers.contents.emplace(record["custom_id"].get<std::string>(), *content);
    else
      ++answers.malformed;
  }
  return answers;
}

std::string read_batch_answers(const std::filesystem::path& file,
                               const std::vector<std::string>& ids, const std::string& questions) {
  auto text = text_of(file);
  const auto answers = parse_batch_answers(text);
  const bool of_these =
      std::ranges::any_of(ids, [&](const auto& id) { return answers.contents.contains(id); });
  if (of_these) return text;
  std::error_code code;
  if (std::filesystem::exists(file, code))
    cluster::log_warning("judge: " + file.string() + " answers none of the questions of " +
                         questions + "; it is left aside");
  return {};
}

}  // namespace quench
