#include "stages/corpus/catalog.hpp"

#include <algorithm>
#include <fstream>
#include <map>

#include "cluster/error.hpp"
#include "cluster/hash.hpp"
#include "stages/corpus/records.hpp"

namespace quench::corpus {
namespace {

using CatalogProblems = std::vector<CatalogProblem>;

constexpr const char* concepts_file = "concepts.jsonl";
constexpr const char* neutral_file = "neutral.jsonl";
constexpr const char* general_file = "general.jsonl";
constexpr const char* instructions_file = "instructions.jsonl";

// Names so far, and the line of each.
using Names = std::map<std::string, std::int64_t, std::less<>>;

void check_name(const Line& line, Names& names, const Reporter& report) {
  if (!line.value.is_object()) return;
  const auto name = line.value.find("name");
  if (name == line.value.end() || !name->is_string()) return;
  const auto text = trimmed(name->get_ref<const std::string&>());
  if (text.empty()) return;
  const auto [first, is_new] = names.emplace(text, line.number);
  if (!is_new) report("name", "the same name as on line " + std::to_string(first->second));
}

// Checks concepts.jsonl and shows its good lines to `visit`.
void scan_concepts(const std::filesystem::path& dir, CatalogProblems& problems,
                   const std::function<void(const Line&)>& visit) {
  Names names;
  bool any = false;
  for_each_line(dir, concepts_file, problems, [&](const Line& line) {
    any = true;
    const Reporter report(concepts_file, line.number, problems);
    const auto before = problems.size();
    check_concept(line.value, report);
    check_name(line, names, report);
    if (problems.size() == before) visit(line);
  });
  if (!any && problems.empty()) problems.push_back({concepts_file, 0, "", "no concepts"});
}

// Checks one of the shared files and shows what `check` makes of its good lines to `visit`.
void scan_shared(const std::filesystem::path& dir, const char* file, bool may_be_empty,
                 CatalogProblems& problems,
                 const std::function<nlohmann::json(const Line&, const Reporter&)>& check,
                 const std::function<void(const nlohmann::json&)>& visit) {
  bool any = false;
  const auto at_start = problems.size();
  for_each_line(dir, file, problems, [&](const Line& line) {
    any = true;
    const auto before = problems.size();
    const auto record = check(line, Reporter(file, line.number, problems));
    if (problems.size() == before) visit(record);
  });
  if (!any && !may_be_empty && problems.size() == at_start)
    problems.push_back({file, 0, "", "no records"});
}

// Questions of one split alone, in a file that is good but for that.
void check_general_splits(const SharedText& shared, CatalogProblems& problems) {
  const auto& general = shared.general;
  const auto has = [&](Split split) {
    return std::ranges::any_of(general, [&](const auto& q) { return q.split == split; });
  };
  if (general.empty() && !shared.examples.empty())
    problems.push_back({general_file, 0, "split",
                        "all questions are \"dev\", which are shown and not asked; at least one "
                        "\"train\" and one \"test\" are needed"});
  if (general.empty() || (has(Split::train) && has(Split::test))) return;
  problems.push_back({general_file, 0, "split",
                      std::string("all questions are \"") + (has(Split::train) ? "train" : "test") +
                          "\", none is \"" + (has(Split::train) ? "test" : "train") + "\"; " +
                          remedy_of_empty_split});
}

SharedText scan_all_shared(const std::filesystem::path& dir, CatalogProblems& problems) {
  SharedText shared;
  cluster::Sha256 hash;
  const auto record = [&hash](const char* file, const nlohmann::json& value) {
    hash.field(file).field(value.dump());
  };
  scan_shared(
      dir, neutral_file, false, problems,
      [](const Line& line, const Reporter& report) {
        check_neutral(line.value, report);
        return line.value;
      },
      [&](const nlohmann::json& value) {
        shared.neutral.push_back(value["text"]);
        record(neutral_file, value);
      });
  Seen seen;
  const auto before_general = problems.size();
  scan_shared(
      dir, general_file, false, problems,
      [&](const Line& line, const Reporter& report) {
        return check_general(line.value, report, seen, "on line " + std::to_string(line.number));
      },
      [&](const nlohmann::json& value) {
        auto& list = value["split"] == "dev" ? shared.examples : shared.general;
        list.push_back(to_question(value, to_split(value)));
        record(general_file, value);
      });
  if (problems.size() == before_general) check_general_splits(shared, problems);
  scan_shared(
      dir, instructions_file, true, problems,
      [](const Line& line, const Reporter& report) {
        check_instruction(line.value, report);
        return line.value;
      },
      [&](const nlohmann::json& value) {
        shared.instructions.push_back({value["instruction"], to_split(value)});
        record(instructions_file, value);
      });
  shared.hash = hash.hex();
  return shared;
}

void throw_if_any(const std::filesystem::path& dir, const CatalogProblems& problems) {
  constexpr std::size_t listed = 50;
  if (problems.empty()) return;
  std::string text = "catalog " + dir.string() + ": " + std::to_string(problems.size()) +
                     (problems.size() == 1 ? " problem" : " problems");
  for (std::size_t i = 0; i < std::min(listed, problems.size()); ++i)
    text += "\n  " + to_text(problems[i]);
  if (problems.size() > listed)
    text += "\n  ... and " + std::to_string(problems.size() - listed) + " more";
  throw DataError(text);
}

std::int64_t question_count(const nlohmann::json& questions) {
  std::size_t count = 0;
  for (const auto& group : questions)
    for (const auto& split : group) count += split.size();
  return static_cast<std::int64_t>(count);
}

// Of all texts of a list.
std::int64_t bytes_of(const nlohmann::json& texts) {
  std::int64_t bytes = 0;
  for (const auto& text : texts) bytes += std::ssize(text.get_ref<const std::string&>());
  return bytes;
}

}  // namespace

ConceptNames names_of(const std::vector<ConceptEntry>& entries, const std::string& whose) {
  ConceptNames names(whose);
  for (const auto& entry : entries) names.add(entry.name, entry.aliases);
  return names;
}

std::string to_text(const CatalogProblem& problem) {
  std::string text = problem.file;
  if (problem.line > 0) text += ":" + std::to_string(problem.line);
  if (!problem.field.empty()) text += ": " + problem.field;
  text += ": " + problem.what;
  // A field's name is the catalog's: it must neither break the line nor move a cursor.
  std::ranges::replace_if(
      text, [](unsigned char c) { return c < 0x20 || c == 0x7F; }, '?');
  return text;
}

CatalogProblems check_catalog(const std::filesystem::path& dir) {
  CatalogProblems problems;
  scan_concepts(dir, problems, [](const Line&) {});
  scan_all_shared(dir, problems);
  return problems;
}

std::vector<ConceptEntry> index_catalog(const std::filesystem::path& dir) {
  CatalogProblems problems;
  std::vector<ConceptEntry> entries;
  scan_concepts(dir, problems, [&](const Line& line) {
    const auto& record = line.value;
    entries.push_back({.name = std::string(trimmed(record["name"].get_ref<const std::string&>())),
                       .hash = record_hash(record),
                       .aliases = record["aliases"].get<std::vector<std::string>>(),
                       .offset = line.offset,
                       .bytes = line.bytes,
                       .sentences = static_cast<std::int64_t>(record["sentences"].size()),
                       .questions = question_count(record["questions"]),
                       .paragraphs = static_cast<std::int64_t>(record["paragraphs"].size()),
                       .sentence_bytes = bytes_of(record["sentences"]),
                       .sensitive = is_sensitive(record)});
  });
  throw_if_any(dir, problems);
  return entries;
}

Concept read_concept(const std::filesystem::path& dir, const ConceptEntry& entry) {
  std::string text(static_cast<std::size_t>(entry.bytes), '\0');
  std::ifstream file(dir / concepts_file, std::ios::binary);
  file.seekg(entry.offset);
  file.read(text.data(), entry.bytes);
  const auto record = nlohmann::json::parse(text, nullptr, false);
  if (!file || record.is_discarded() || record_hash(record) != entry.hash)
    throw DataError((dir / concepts_file).string() + ": the record of '" + entry.name +
                    "' at byte " + std::to_string(entry.offset) +
                    " cannot be read or has changed since the start; start again");
  return to_concept(record);
}

SharedText read_shared(const std::filesystem::path& dir) {
  CatalogProblems problems;
  auto shared = scan_all_shared(dir, problems);
  throw_if_any(dir, problems);
  return shared;
}

}  // namespace quench::corpus
