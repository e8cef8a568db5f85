#include "stages/selection/judge.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

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

constexpr const char* membership_by_tokens_task =
    "Below is a list of tokens, the strongest first, that one feature of a language model responds "
    "to; some of them may be noise. Decide whether it is a feature of the given concept. It is "
    "only if the concept is distinctive of what the relevant tokens share (a broader topic that "
    "merely includes the concept is not enough) and central to it (one of several themes is not "
    "enough). Answer with JSON alone: {\"is_member\": true or false, \"confidence\": a number "
    "from 0 to 1}.\n\n"
    "Example\n"
    "Concept: Astronomy\n"
    "Tokens: [\" telescope\", \" planet\", \" galaxy\", \" stars\", \" the\", \" orbit\"]\n"
    "Answer: {\"is_member\": true, \"confidence\": 0.95}\n\n"
    "Example\n"
    "Concept: Astronomy\n"
    "Tokens: [\" chemistry\", \" biology\", \" geology\", \" astronomy\", \" science\"]\n"
    "Answer: {\"is_member\": false, \"confidence\": 0.9}\n\n";

// JSON text even where a token is broken UTF-8.
std::string dump(const json& value) {
  return value.dump(-1, ' ', /*ensure_ascii=*/false, json::error_handler_t::replace);
}

// One past the } that closes the { at `begin`, braces within strings left out of account; npos
// where none does.
std::size_t end_of_object(const std::string& text, std::size_t begin) {
  bool in_string = false;
  int depth = 0;
  for (auto at = begin; at < text.size(); ++at) {
    const char c = text[at];
    if (in_string && c == '\\')
      ++at;  // what it escapes ends no string
    else if (c == '"')
      in_string = !in_string;
    else if (!in_string && c == '{')
      ++depth;
    else if (!in_string && c == '}' && --depth == 0)
      return at + 1;
  }
  return std::string::npos;
}

// The first {...} that is JSON and has one of the keys, also one within another.
std::optional<json> first_object(const std::string& text, std::initializer_list<const char*> keys) {
  for (auto begin = text.find('{'); begin != std::string::npos; begin = text.find('{', begin + 1)) {
    const auto end = end_of_object(text, begin);
    if (end == std::string::npos) continue;  // a quote in prose hides the end of this one
    auto object = json::parse(text.substr(begin, end - begin), nullptr, false);
    const auto has = [&](const char* key) { return object.contains(key); };
    if (object.is_object() && std::ranges::any_of(keys, has)) return object;
  }
  return {};
}

std::string trimmed(const std::string& text) {
  const auto begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

}  // namespace

BatchQuestion Questioner::question(const std::string& round, const Candidate& candidate,
                                   const std::string& concept_hash, std::string prompt) const {
  const auto hash = cluster::Sha256().field(judge_).field(prompt).hex();
  const auto id = round + "-" + concept_hash.substr(0, 12) + "-" +
                  std::to_string(candidate.feature) + "-" + hash.substr(0, 12);
  return {id, std::move(prompt)};
}

BatchQuestion Questioner::describe(const Candidate& candidate,
                                   const std::string& concept_hash) const {
  return question("describe", candidate, concept_hash,
                  describe_task + ("Tokens: " + dump(candidate.tokens)) + "\nAnswer:");
}

BatchQuestion Questioner::membership(const Candidate& candidate, const std::string& concept_hash,
                                     const std::string& concept_name,
                                     const std::optional<std::string>& description) const {
  const auto name = "Concept: " + concept_name;
  return question(
      "membership", candidate, concept_hash,
      description
          ? membership_task + name + "\nDescription: " + *description + "\nAnswer:"
          : membership_by_tokens_task + name + "\nTokens: " + dump(candidate.tokens) + "\nAnswer:");
}

std::optional<std::string> description_of(const std::string& content) {
  auto text = trimmed(content);
  if (const auto object = first_object(text, {"explanation", "description"})) {
    for (const char* key : {"explanation", "description"})
      if (object->contains(key) && (*object)[key].is_string())
        text = trimmed((*object)[key].get<std::string>());
  }
  if (text.empty()) return {};
  return text;
}

std::optional<Membership> membership_of(const std::string& content) {
  const auto object = first_object(content, {"is_member"});
  if (!object || !(*object)["is_member"].is_boolean() || !object->contains("confidence") ||
      !(*object)["confidence"].is_number())
    return {};
  const auto confidence = (*object)["confidence"].get<double>();
  return Membership{(*object)["is_member"].get<bool>(), std::clamp(confidence, 0.0, 1.0)};
}

}  // namespace quench::selection
