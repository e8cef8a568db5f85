#pragma once

// Inside stages/corpus only: JSON Lines files, and what a good record of a catalog looks like.
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "stages/corpus/catalog.hpp"

namespace quench::corpus {

// A JSON value on a line of its own.
struct Line {               // NOLINT(bugprone-exception-escape): of the library's own constructors
  std::int64_t number = 0;  // 1-based
  std::int64_t offset = 0;  // bytes
  std::int64_t bytes = 0;   // without the line break
  nlohmann::json value;
};

// Where a complaint belongs.
class Reporter {
 public:
  Reporter(std::string file, std::int64_t line, std::vector<CatalogProblem>& problems)
      : file_(std::move(file)), line_(line), problems_(problems) {}
  void operator()(const std::string& field, const std::string& what) const {
    problems_.push_back({file_, line_, field, what});
  }

 private:
  std::string file_;
  std::int64_t line_;
  std::vector<CatalogProblem>& problems_;
};

// Text without the white space (Unicode) at its ends.
std::string_view trimmed(std::string_view text);

// Shows each line of DIR/NAME that is JSON to `visit`; blank lines do not count. Every line that is
// not (invalid UTF-8, syntax, an object with a field twice), and a file that cannot be read, is a
// problem.
void for_each_line(const std::filesystem::path& dir, const std::string& name,
                   std::vector<CatalogProblem>& problems,
                   const std::function<void(const Line&)>& visit);

// What to do about questions that are all of one split.
inline constexpr const char* remedy_of_empty_split =
    "train questions choose the strength of an edit, test questions are what is reported: write "
    "some, or move some of the other split";

// Question texts so far, and where each one stands.
using Seen = std::map<std::string, std::string, std::less<>>;

// Each reports all that is wrong with a record of its kind.
void check_concept(const nlohmann::json& record, const Reporter& report);
void check_neutral(const nlohmann::json& record, const Reporter& report);
void check_instruction(const nlohmann::json& record, const Reporter& report);
// A question of general.jsonl, in the catalog's layout or MMLU's, in the former; null when
// something is wrong with its shape. `place` names this record to later ones that ask the same.
nlohmann::json check_general(const nlohmann::json& record, const Reporter& report, Seen& seen,
                             const std::string& place);

// The values of records that have passed their check.
Concept to_concept(const nlohmann::json& record);
Question to_question(const nlohmann::json& record, Split split);
Split to_split(const nlohmann::json& record);

// Whether answers about the concept are hidden in reports.
bool is_sensitive(const nlohmann::json& record);

// The identity of a record: SHA-256 of its JSON with sorted keys and without white space, without
// what decides only how results are shown ("sensitive").
std::string record_hash(const nlohmann::json& record);

}  // namespace quench::corpus
