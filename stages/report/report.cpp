#include "stages/report/report.hpp"

#include <cstdio>
#include <fstream>

#include "cluster/error.hpp"
#include "cluster/fault.hpp"
#include "stages/report/csv.hpp"
#include "stages/report/gather.hpp"
#include "stages/report/page.hpp"
#include "stages/report/text_table.hpp"

namespace quench::report {

using nlohmann::json;

namespace {

// Writes beside and renames, so that a reader never sees half a page.
void publish(const std::filesystem::path& path, const std::string& text) {
  const auto partial = path.string() + ".partial";
  {
    std::ofstream stream(partial, std::ios::binary);
    stream << text;
    stream.close();
    if (!stream) {
      std::filesystem::remove(partial);
      throw DataError(path.string() +
                      ": cannot be written; is the disk full or the folder read-only?");
    }
  }
  cluster::Fault(path.filename().string(), 0).after_record();
  std::filesystem::rename(partial, path);
}

std::string percent(const json& object, const char* name) {
  if (!object.is_object() || !object.contains(name) || object[name][0].is_null()) return "–";
  char text[16];
  std::snprintf(text, sizeof text, "%.0f%%", 100 * object[name][0].get<double>());
  return text;
}

std::string percent_with_interval(const json& object, const char* name) {
  auto value = percent(object, name);
  if (value == "–" || object[name][1] == object[name][2]) return value;
  char text[32];
  std::snprintf(text, sizeof text, "%s [%.0f–%.0f]", value.c_str(),
                100 * object[name][1].get<double>(), 100 * object[name][2].get<double>());
  return text;
}

// What a figure is of; nothing where it is not measured.
std::string count(const json& object, const char* name) {
  const bool there = object.is_object() && object.contains(name) && !object[name][0].is_null() &&
                     object[name].size() > 3;
  return there ? std::to_string(object[name][3].get<std::int64_t>()) : "–";
}

// What is left of the concept's figure at the end of the attacks, of the erased and of the
// untouched model, and of how many questions (or concepts) and seeds it is; nothing without an
// attack.
void add_relearned(const json& relearning, std::vector<std::string>& cells) {
  const auto end_of = [&](const char* start) {
    const auto points = relearning.value(start, json::object()).value("points", json::array());
    return points.empty() ? json() : points.back();
  };
  const auto erased = end_of("erased"), untouched = end_of("untouched");
  const auto n = count(erased, "own_left");
  if (n == "–") return;
  const auto shown = [](const json& point) { return percent_with_interval(point, "own_left"); };
  cells.push_back(shown(erased) + (untouched.is_null() ? "" : " / " + shown(untouched)));
  cells.push_back(n + " × " + relearning["erased"]["seeds"].dump());
}

std::string strength_of(const json& item) {
  if (!item.contains("strength") || item["strength"].is_null()) return "–";
  char text[16];
  std::snprintf(text, sizeof text, "%g", item["strength"].get<double>());
  return text;
}

std::string table_of(const json& document) {
  TextTable table({"concept", "status", "strength", "tokens", "n", "efficacy", "specificity",
                   "coherence", "harmonic", "relearned", "n × seeds"});
  const auto add_figures = [](std::vector<std::string>& cells, const json& scores) {
    cells.push_back(count(scores, "efficacy"));
    for (const char* name : {"efficacy", "specificity", "coherence", "harmonic_all"})
      cells.push_back(percent_with_interval(scores, name));
  };
  for (const auto& item : document["concepts"]) {
    const auto joint = item.value("joint", json());
    std::vector<std::string> cells{item["name"], item.value("status", "–"), strength_of(item),
                                   std::to_string(item.value("token_count", 0))};
    add_figures(cells, joint);
    add_relearned(item.value("relearning", json::object()), cells);
    table.add_row(std::move(cells));
  }
  if (document.contains("mean")) {
    std::vector<std::string> cells{"mean of edited ones", "", "", ""};
    add_figures(cells, document["mean"]["joint"]);
    add_relearned(document.value("relearning", json::object()), cells);
    table.add_row({});
    table.add_row(std::move(cells));
  }
  const bool gated = document.contains("joint") && document["joint"]["status"] == "gated";
  return table.text() +
         (gated ? "no joint edit passed its gates: these are the untouched model's figures\n"
                : "all concepts erased in one model, test questions, relative to the untouched "
                  "model; [95% interval]\n") +
         "n: questions that efficacy is of; of the mean: concepts\n"
         "relearned: share of the concept's figure after the attacks, erased / untouched model; "
         "beside it the\nquestions (of the mean: attacked concepts) and seeds that it is of\n";
}

}  // namespace

void describe(Options& options, OptionTable& table) {
  table.add_choice(
      "report.redact", options.redact,
      "whose answers the report leaves out: those about concepts that the catalog marks "
      "as sensitive, all, or none",
      {"sensitive", "all", "none"});
  table.add("report.examples", options.examples,
            "test questions of each kind that the report shows with the answers before and after; "
            "0: none",
            {0, 1000});
}

Summary write_report(const std::filesystem::path& run_directory, const Options& options,
                     const Sensitive& sensitive) {
  const auto document = gather(run_directory, options, sensitive);
  const auto folder = run_directory / "report";
  std::error_code code;
  std::filesystem::create_directories(folder, code);
  if (code) throw DataError(folder.string() + ": cannot be made: " + code.message());
  for (const auto& file : csv_files(document)) publish(folder / file.name, file.text);
  publish(folder / "index.html", html_page(document));
  return {table_of(document), folder / "index.html"};
}

std::string summary_table(const std::filesystem::path& run_directory) {
  return std::filesystem::exists(run_directory / "corpus.h5")
             ? table_of(gather(run_directory, {.examples = 0}, {}))
             : "nothing to show yet: the corpus stage is not complete\n";
}

}  // namespace quench::report
