#include "stages/selection/manual.hpp"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "cluster/error.hpp"

namespace quench::selection {

using nlohmann::json;
using Ids = std::vector<std::int32_t>;

namespace {

class ManualReader {
 public:
  explicit ManualReader(const ManualLimits& limits)
      : limits_(limits), decisions_(limits.names.size()) {}

  void read_line(const std::string& text) {
    ++line_;
    if (text.find_first_not_of(" \t\r") == std::string::npos) return;
    const auto record = json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!record.is_object()) return wrong("", "is no JSON object");
    for (const auto& [key, value] : record.items())
      if (key != "concept" && key != "features" && key != "tokens")
        wrong(key, "unknown field; known are concept, features, tokens");
    const auto concept_index = find_concept(record);
    Decision decision{ids(record, "features", limits_.features),
                      ids(record, "tokens", limits_.vocab)};
    if (!record.contains("features") && !record.contains("tokens"))
      wrong("features", "missing, and so is tokens; give one of them or both");
    if (concept_index) decisions_[*concept_index] = std::move(decision);
  }

  std::vector<Decision> finish(const std::filesystem::path& file) {
    problems_.throw_if_any<DataError>(file.string() + ": the selections cannot be used:");
    return std::move(decisions_);
  }

 private:
  void wrong(const std::string& field, const std::string& what) {
    problems_.add("line " + std::to_string(line_) + (field.empty() ? "" : ", field " + field),
                  what);
  }

  std::optional<std::int64_t> find_concept(const json& record) {
    const auto field = record.find("concept");
    if (field == record.end() || !field->is_string()) {
      wrong("concept", "must be the name of a concept");
      return {};
    }
    try {
      const auto found = limits_.names.find(field->get<std::string>());
      if (!seen_.insert(found).second)
        wrong("concept", "'" + field->get<std::string>() + "' has a line already");
      return found;
    } catch (const ConfigError& error) {
      wrong("concept", error.what());
      return {};
    }
  }

  std::optional<Ids> ids(const json& record, const char* field, std::int64_t end) {
    const auto list = record.find(field);
    if (list == record.end()) return {};
    Ids out;
    if (!list->is_array()) {
      wrong(field, "must be a list of ids");
      return out;
    }
    for (const auto& id : *list) {
      if (!id.is_number_integer() || id < 0 || id >= end)
        wrong(field, id.dump() + " is no id: whole numbers from 0 to " + std::to_string(end - 1));
      else
        out.push_back(id);
    }
    std::ranges::sort(out);
    const auto twice = std::ranges::adjacent_find(out);
    if (twice != out.end()) wrong(field, std::to_string(*twice) + " stands there twice");
    return out;
  }

  const ManualLimits& limits_;
  std::set<std::int64_t> seen_;  // concepts
  std::vector<Decision> decisions_;
  Problems problems_;
  std::int64_t line_ = 0;
};

}  // namespace

std::vector<Decision> read_manual(const std::filesystem::path& file, const ManualLimits& limits) {
  std::ifstream stream(file);
  if (!stream || std::filesystem::is_directory(file))
    throw DataError(file.string() +
                    ": cannot be read; selection.manual names a file of JSON lines");
  ManualReader reader(limits);
  for (std::string line; std::getline(stream, line);) reader.read_line(line);
  return reader.finish(file);
}

}  // namespace quench::selection
