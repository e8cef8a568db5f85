#include "stages/selection/judge.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cluster/hash.hpp"

namespace quench::selection {

using nlohmann::json;

namespace {

constexpr const char* describe_task =
    "Below is a list of tokens, the strongest first, that one feature of a language model responds "
    "to. Name in one sentence the single most specific concept that the relevant tokens share. "
    "Some "
    "of the tokens may be noise: leave them out of account. Do not list the tokens, and give no "
    "caveats.\n\n"
    "Example\n"
    "Tokens: [\" violin\", \" cello\", \" orchestra\", \" strings\", \" the\", \" bow\"]\n"
    "Answer: Bowed string instruments and the orchestras in which they are played.\n\n";

constexpr const char* membership_task =
    "A feature of a language model is described in a sentence. Decide whether it is a feature of "
    "the "
    "given concept. It is only if the concept is distinctive of the description (a broader topic "
    "that "
    "merely includes the concept is not enough) and central to it (one of several themes is not "
    "enough). Answer with JSON alone: {\"is_member\": true or false, \"confidence\": a number from "
    "0 "
    "to 1}.\n\n"
    "Example\n"
    "Concept: Astronomy\n"
    "Description: Telescopes and the planets, stars and galaxies that are observed with them.\n"
    "Answer: {\"is_member\": true, \"confidence\": 0.95}\n\n"
    "Example\n"
    "Concept: Astronomy\n"
    "Description: Scientific disciplines such as chemistry, geology, astronomy and biology.\n"
    "Answer: {\"is_member\": false, \"confidence\": 0.9}\n\n";

// JSON text even where a token is broken UTF-8.
std::string dump(const json& value) {
  return value.dump(-1, ' ', /*ensure_ascii=*/false, json::error_handler_t::replace);
}

// The content of one line of a batch's output; nothing when it is no good answer.
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

// The first {...} that is JSON.
std::optional<json> first_object(const std::string& text) {
  for (auto begin = text.find('{'); begin != std::string::npos; begin = text.find('{', begin + 1)) {
    const auto end = text.find('}', begin);
    if (end == std::string::npos) return {};
    auto object = json::parse(text.substr(begin, end - begin + 1), nullptr, false);
    if (object.is_object()) return object;
  }
  return {};
}

std::string trimmed(const std::string& text) {
  const auto begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

}  // namespace

Question Questioner::question(const std::string& round, const Candidate& candidate,
                              const std::string& concept_hash, std::string prompt) const {
  const auto hash = cluster::Sha256().field(judge_).field(prompt).hex();
  const auto id = round + "-" + concept_hash.substr(0, 12) + "-" +
                  std::to_string(candidate.feature) + "-" + hash.substr(0, 12);
  return {id, std::move(prompt)};
}

Question Questioner::describe(const Candidate& candidate, const std::string& concept_hash) const {
  return question("describe", candidate, concept_hash,
                  describe_task + ("Tokens: " + dump(candidate.tokens)) + "\nAnswer:");
}

Question Questioner::membership(const Candidate& candidate, const std::string& concept_hash,
                                const std::string& concept_name,
                                const std::string& description) const {
  return question("membership", candidate, concept_hash,
                  membership_task + ("Concept: " + concept_name) + "\nDescription: " + description +
                      "\nAnswer:");
}

std::string request_line(const Question& question, const std::string& model,
                         std::int64_t max_tokens) {
  const json messages = {{{"role", "user"}, {"content", question.prompt}}};
  return dump({{"custom_id", question.id},
               {"method", "POST"},
               {"url", "/v1/chat/completions"},
               {"body",
                {{"model", model},
                 {"messages", messages},
                 {"max_tokens", max_tokens},
                 {"temperature", 0}}}});
}

std::string answer_line(const std::string& id, const std::string& model,
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

Answers parse_answers(const std::string& text) {
  Answers answers;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    if (trimmed(line).empty()) continue;
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

std::optional<std::string> description_of(const std::string& content) {
  auto text = trimmed(content);
  if (const auto object = first_object(text)) {
    for (const char* key : {"explanation", "description"})
      if (object->contains(key) && (*object)[key].is_string())
        text = trimmed((*object)[key].get<std::string>());
  }
  if (text.empty()) return {};
  return text;
}

std::optional<Membership> membership_of(const std::string& content) {
  const auto object = first_object(content);
  if (!object || !object->contains("is_member") || !(*object)["is_member"].is_boolean() ||
      !object->contains("confidence") || !(*object)["confidence"].is_number())
    return {};
  const auto confidence = (*object)["confidence"].get<double>();
  return Membership{(*object)["is_member"].get<bool>(), std::clamp(confidence, 0.0, 1.0)};
}

}  // namespace quench::selection
