#include <fstream>
#include <set>

#include "cluster/error.hpp"
#include "model/files.hpp"
#include "model/tokenizer/unicode.hpp"
#include "stages/corpus/records.hpp"

namespace quench::corpus {
namespace {

using nlohmann::json;

// Finds keys that occur twice in one object, of which nlohmann::json silently keeps the last.
class DoubledKeys {
 public:
  bool operator()(json::parse_event_t event, const json& parsed) {
    if (event == json::parse_event_t::object_start) open_.emplace_back();
    if (event == json::parse_event_t::object_end) open_.pop_back();
    if (event == json::parse_event_t::key && !open_.back().insert(parsed.get<std::string>()).second)
      doubled_.insert(parsed.get<std::string>());
    return true;
  }
  const std::set<std::string>& found() const { return doubled_; }

 private:
  std::vector<std::set<std::string>> open_;
  std::set<std::string> doubled_;
};

// The library's text without its own place, which counts lines within this one line.
std::string syntax_problem(const json::parse_error& error) {
  const std::string_view text = error.what();
  const auto column = text.find("column");
  const auto start = column == std::string_view::npos ? column : text.find(": ", column);
  return "JSON error at byte " + std::to_string(error.byte) + " of the line" +
         std::string(start == std::string_view::npos ? "" : text.substr(start));
}

bool parse(const std::string& text, const Reporter& report, json& value) {
  DoubledKeys doubled;
  try {
    value = json::parse(text, [&](int depth, json::parse_event_t event, json& parsed) {
      // Values are copied and hashed by recursion, which must end before the stack does.
      if (depth > model::max_json_depth) throw DataError("nested too deeply");
      return doubled(event, parsed);
    });
  } catch (const json::parse_error& error) {
    report("", syntax_problem(error));
    return false;
  } catch (const json::exception& error) {  // a number that no float64 holds
    report("", std::string("JSON error in the line: ") + error.what());
    return false;
  } catch (const DataError& error) {
    report("", error.what());
    return false;
  }
  for (const auto& key : doubled.found()) report(key, "the field occurs twice in one object");
  return doubled.found().empty();
}

bool is_utf8(const std::string& text, std::int64_t offset, const Reporter& report) {
  const auto bad = model::tokenization::first_invalid_byte(text);
  if (!bad) return true;
  const auto place = static_cast<std::int64_t>(*bad);
  report("", "invalid UTF-8 at byte " + std::to_string(place + 1) + " of the line (offset " +
                 std::to_string(offset + place) + " in the file)");
  return false;
}

}  // namespace

std::string_view trimmed(std::string_view text) {
  text.remove_prefix(model::tokenization::leading_white_space(text));
  text.remove_suffix(model::tokenization::trailing_white_space(text));
  return text;
}

void for_each_line(const std::filesystem::path& dir, const std::string& name,
                   std::vector<CatalogProblem>& problems,
                   const std::function<void(const Line&)>& visit) {
  const auto path = dir / name;
  std::error_code unknown;  // then it is no file that can be read
  std::ifstream file;
  // Opening a pipe would wait for somebody to write into it.
  if (std::filesystem::is_regular_file(path, unknown)) file.open(path, std::ios::binary);
  if (!file.is_open()) {
    problems.push_back({name, 0, "", "cannot be read: no such file, or no right to read it"});
    return;
  }
  Line line;
  for (std::string text; std::getline(file, text); line.offset += line.bytes + 1) {
    ++line.number;
    line.bytes = static_cast<std::int64_t>(text.size());
    const Reporter report(name, line.number, problems);
    if (!is_utf8(text, line.offset, report) || trimmed(text).empty()) continue;
    if (parse(text, report, line.value)) visit(line);
  }
  if (file.bad())
    problems.push_back({name, 0, "", "reading failed after line " + std::to_string(line.number)});
}

}  // namespace quench::corpus
