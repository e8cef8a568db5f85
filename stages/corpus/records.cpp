#include "stages/corpus/records.hpp"

#include <algorithm>
#include <limits>
#include <set>

#include "cluster/hash.hpp"
#include "stages/options.hpp"

namespace quench::corpus {
namespace {

using nlohmann::json;

constexpr const char* sensitive_field = "sensitive";

std::string join(const std::string& path, const std::string& key) {
  return path.empty() ? key : path + "." + key;
}

std::string element(const std::string& path, std::size_t index) {
  return path + "[" + std::to_string(index) + "]";
}

// An object that has all of `required`, and besides them nothing but `optional`. True when it is an
// object at all.
bool check_object(const json& value, const std::string& path, const Reporter& report,
                  const std::vector<std::string>& required,
                  const std::vector<std::string>& optional = {}) {
  if (!value.is_object()) {
    report(path, std::string("must be an object, is ") + value.type_name());
    return false;
  }
  for (const auto& key : required)
    if (!value.contains(key)) report(join(path, key), "is missing");
  auto known = required;
  known.insert(known.end(), optional.begin(), optional.end());
  for (const auto& [key, ignored] : value.items())
    if (std::ranges::find(known, key) == known.end())
      report(join(path, key),
             "unknown field; the nearest known one is '" + nearest_of(key, known) + "'");
  return true;
}

// The member, or nothing when it is missing (which check_object has told).
const json* member(const json& object, const std::string& key) {
  const auto found = object.find(key);
  return found == object.end() ? nullptr : &*found;
}

bool check_text(const json* value, const std::string& path, const Reporter& report) {
  if (value == nullptr) return false;
  if (!value->is_string()) {
    report(path, std::string("must be a string, is ") + value->type_name());
    return false;
  }
  if (!trimmed(value->get_ref<const std::string&>()).empty()) return true;
  report(path, "is empty");
  return false;
}

// A list of non-empty strings. True when all is well with it.
bool check_texts(const json* value, const std::string& path, const Reporter& report) {
  if (value == nullptr) return false;
  if (!value->is_array()) {
    report(path, std::string("must be a list of strings, is ") + value->type_name());
    return false;
  }
  bool good = true;
  for (std::size_t i = 0; i < value->size(); ++i)
    good = check_text(&(*value)[i], element(path, i), report) && good;
  return good;
}

// Whose question it is. General ones are MMLU's or of its kind: the same words may be asked of
// other options, two of which may be alike.
enum class Asker : std::uint8_t { concept_record, general };

void check_options(const json& options, Asker asker, const std::string& path,
                   const Reporter& report) {
  if (options.size() != 4) report(path, "must be 4 options, are " + std::to_string(options.size()));
  if (asker == Asker::general) return;
  std::set<std::string_view> distinct;
  for (std::size_t i = 0; i < options.size(); ++i)
    if (!distinct.insert(trimmed(options[i].get_ref<const std::string&>())).second)
      report(element(path, i), "the same option as an earlier one");
}

void check_accepted(const json& question, const std::string& path, const Reporter& report) {
  const json& accepted = question["accepted"];
  if (accepted.empty()) report(path, "is empty; leave it out to accept the answer alone");
  for (std::size_t i = 0; i < accepted.size(); ++i)
    for (const auto& option : question["options"])
      if (option == accepted[i] && option != question["answer"])
        report(element(path, i), "accepts an option that is not the answer");
}

const std::vector<std::string> question_fields{"question", "answer", "options"};

// What all questions have in common; `question` is an object.
void check_question(const json& question, Asker asker, const std::string& path,
                    const Reporter& report, Seen& seen, const std::string& place) {
  const json* text = member(question, "question");
  if (check_text(text, join(path, "question"), report)) {
    std::string key(trimmed(text->get_ref<const std::string&>()));
    if (asker == Asker::general && question.contains("options"))
      key += "\n" + question["options"].dump();
    const auto [first, is_new] = seen.emplace(std::move(key), place);
    if (!is_new) report(join(path, "question"), "the same question as " + first->second);
  }
  const json* answer = member(question, "answer");
  const json* options = member(question, "options");
  const bool has_answer = check_text(answer, join(path, "answer"), report);
  const bool has_options = check_texts(options, join(path, "options"), report);
  if (has_options) check_options(*options, asker, join(path, "options"), report);
  if (has_answer && has_options && std::ranges::find(*options, *answer) == options->end())
    report(join(path, "answer"), "is not one of the options");
  if (check_texts(member(question, "accepted"), join(path, "accepted"), report) && has_answer &&
      has_options)
    check_accepted(question, join(path, "accepted"), report);
}

// One of the two splits of one of the two groups.
void check_questions(const json& list, const std::string& path, const Reporter& report,
                     Seen& seen) {
  if (!list.is_array()) {
    report(path, std::string("must be a list of questions, is ") + list.type_name());
    return;
  }
  if (list.empty()) report(path, std::string("no questions; ") + remedy_of_empty_split);
  for (std::size_t i = 0; i < list.size(); ++i) {
    const auto place = element(path, i);
    if (check_object(list[i], place, report, question_fields, {"accepted"}))
      check_question(list[i], Asker::concept_record, place, report, seen, place);
  }
}

void check_group(const json* group, const std::string& path, const Reporter& report, Seen& seen) {
  if (group == nullptr || !check_object(*group, path, report, {"train", "test"})) return;
  for (const char* split : {"train", "test"})
    if (const json* list = member(*group, split))
      check_questions(*list, join(path, split), report, seen);
}

void check_split(const json* split, const Reporter& report) {
  if (split != nullptr && *split != "train" && *split != "test")
    report("split", "must be \"train\" or \"test\"");
}

std::vector<std::string> texts(const json& list) { return list.get<std::vector<std::string>>(); }

std::vector<Question> to_group(const json& group) {
  std::vector<Question> questions;
  for (const auto& record : group["train"]) questions.push_back(to_question(record, Split::train));
  for (const auto& record : group["test"]) questions.push_back(to_question(record, Split::test));
  return questions;
}

}  // namespace

void check_concept(const json& record, const Reporter& report) {
  if (!check_object(record, "", report, {"name", "aliases", "sentences", "questions", "paragraphs"},
                    {sensitive_field}))
    return;
  const json* sensitive = member(record, sensitive_field);
  if (sensitive != nullptr && !sensitive->is_boolean())
    report(sensitive_field, std::string("must be true or false, is ") + sensitive->type_name());
  check_text(member(record, "name"), "name", report);
  for (const char* key : {"aliases", "sentences", "paragraphs"})
    check_texts(member(record, key), key, report);
  const json* sentences = member(record, "sentences");
  if (sentences != nullptr && sentences->is_array() && sentences->empty())
    report("sentences", "no sentences");
  const json* questions = member(record, "questions");
  if (questions == nullptr ||
      !check_object(*questions, "questions", report, {"concept", "similar"}))
    return;
  Seen seen;
  for (const char* group : {"concept", "similar"})
    check_group(member(*questions, group), join("questions", group), report, seen);
}

void check_neutral(const json& record, const Reporter& report) {
  if (check_object(record, "", report, {"text"}))
    check_text(member(record, "text"), "text", report);
}

void check_instruction(const json& record, const Reporter& report) {
  if (!check_object(record, "", report, {"instruction", "split"})) return;
  check_text(member(record, "instruction"), "instruction", report);
  check_split(member(record, "split"), report);
}

namespace {

// Whether `answer` is a place among so many choices.
bool is_place(const json& answer, std::int64_t count) {
  if (!answer.is_number_integer()) return false;
  const auto place = answer.get<std::int64_t>();
  return place >= 0 && place < count;
}

// What a question of MMLU's layout keeps beside the text of its answer: two options may be equal.
constexpr auto place_field = "place of the answer";

// MMLU's layout to that of a question. What is wrong with choices and answer is told, and left out
// of the question: nobody tells it again.
json from_mmlu(const json& record, const Reporter& report) {
  json question = record;
  question.erase("choices");
  question.erase("answer");
  const json& choices = record["choices"];
  const bool has_choices = check_texts(&choices, "choices", report);
  if (has_choices) question["options"] = choices;
  const json* answer = member(record, "answer");
  if (answer == nullptr) return question;
  const auto count = has_choices ? std::ssize(choices) : std::numeric_limits<std::int64_t>::max();
  if (!is_place(*answer, count))
    report("answer", "must be the place of the right choice, from 0 on");
  else if (has_choices)
    question["answer"] = choices[answer->get<std::size_t>()];
  return question;
}

bool is_mmlu(const json& record) { return record.is_object() && record.contains("choices"); }

void check_general_split(const json* split, const Reporter& report) {
  const json known{"train", "test", "validation", "dev"};
  if (split != nullptr && std::ranges::find(known, *split) == known.end())
    report("split", "must be \"train\" (or \"validation\"), \"test\" or \"dev\"");
}

void check_subject(const json* subject, const Reporter& report) {
  if (subject != nullptr && !subject->is_string())
    report("subject", std::string("must be a string, is ") + subject->type_name());
}

}  // namespace

json check_general(const json& record, const Reporter& report, Seen& seen,
                   const std::string& place) {
  const bool mmlu = is_mmlu(record);
  auto required =
      mmlu ? std::vector<std::string>{"question", "answer", "choices"} : question_fields;
  required.emplace_back("split");
  if (!check_object(record, "", report, required, {"accepted", "subject"})) return nullptr;
  json question = mmlu ? from_mmlu(record, report) : record;
  check_question(question, Asker::general, "", report, seen, place);
  check_general_split(member(question, "split"), report);
  check_subject(member(question, "subject"), report);
  question.erase(place_field);
  if (mmlu) question[place_field] = record["answer"];
  return question;
}

Split to_split(const json& record) {
  return record["split"] == "test" ? Split::test : Split::train;
}

Question to_question(const json& record, Split split) {
  Question question{record["question"], record["answer"], texts(record["options"]), {}, split, ""};
  question.subject = record.value("subject", "");
  if (record.contains(place_field)) question.place = record[place_field].get<std::int64_t>();
  question.accepted =
      record.contains("accepted") ? texts(record["accepted"]) : std::vector{question.answer};
  return question;
}

Concept to_concept(const json& record) {
  return {.name = std::string(trimmed(record["name"].get_ref<const std::string&>())),
          .hash = record_hash(record),
          .aliases = texts(record["aliases"]),
          .sentences = texts(record["sentences"]),
          .own = to_group(record["questions"]["concept"]),
          .similar = to_group(record["questions"]["similar"]),
          .paragraphs = texts(record["paragraphs"])};
}

bool is_sensitive(const json& record) { return record.value(sensitive_field, false); }

std::string record_hash(const json& record) {
  if (!record.contains(sensitive_field)) return cluster::sha256(record.dump());
  auto counted = record;
  counted.erase(sensitive_field);
  return cluster::sha256(counted.dump());
}

}  // namespace quench::corpus
