#include "stages/report/report.hpp"

#include <array>
#include <cstdio>
#include <fstream>

#include "cluster/error.hpp"
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

// What an attacked model has of the base's concept figure at the end, mean over seeds; empty where
// it was not attacked.
std::string relearned(const json& document, std::size_t concept_index, bool erased) {
  if (!document.contains("attacks")) return "";
  std::array<double, 3> sums{};  // value, low, high
  int count = 0;
  for (const auto& attack : document["attacks"]) {
    if (attack["concept"] != concept_index || attack["erased"] != erased ||
        attack["points"].empty())
      continue;
    const auto& left = attack["points"].back()["own_left"];
    if (left[0].is_null()) continue;
    for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += left[i].get<double>();
    ++count;
  }
  if (count == 0) return "";
  char text[48];
  std::snprintf(text, sizeof text, erased ? "%.0f%% [%.0f–%.0f]" : "%.0f%%", 100 * sums[0] / count,
                100 * sums[1] / count, 100 * sums[2] / count);
  return text;
}

std::string strength_of(const json& item) {
  if (!item.contains("strength") || item["strength"].is_null()) return "–";
  char text[16];
  std::snprintf(text, sizeof text, "%g", item["strength"].get<double>());
  return text;
}

std::string table_of(const json& document) {
  TextTable table({"concept", "status", "strength", "tokens", "n", "efficacy", "specificity",
                   "coherence", "harmonic", "relearned"});
  const auto add_figures = [](std::vector<std::string>& cells, const json& scores) {
    cells.push_back(count(scores, "efficacy"));
    for (const char* name : {"efficacy", "specificity", "coherence", "harmonic_all"})
      cells.push_back(percent_with_interval(scores, name));
  };
  for (std::size_t c = 0; c < document["concepts"].size(); ++c) {
    const auto& item = document["concepts"][c];
    const auto joint = item.value("joint", json());
    const auto back = relearned(document, c, true);
    std::vector<std::string> cells{item["name"], item.value("status", "–"), strength_of(item),
                                   std::to_string(item.value("token_count", 0))};
    add_figures(cells, joint);
    cells.push_back(back.empty() ? "" : back + " / " + relearned(document, c, false));
    table.add_row(std::move(cells));
  }
  if (document.contains("mean")) {
    std::vector<std::string> cells{"mean of edited ones", "", "", ""};
    add_figures(cells, document["mean"]["joint"]);
    table.add_row({});
    table.add_row(std::move(cells));
  }
  const bool gated = document.contains("joint") && document["joint"]["status"] == "gated";
  return table.text() +
         (gated ? "no joint edit passed its gates: these are the untouched model's figures\n"
                : "all concepts erased in one model, test questions, relative to the untouched "
                  "model; [95% interval]\n") +
         "n: questions that efficacy is of; of the mean: concepts\n"
         "relearned: share of the concept's figure after the attack, erased / untouched model\n";
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
