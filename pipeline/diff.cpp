// diff: two runs side by side, in a terminal or as JSON. Starts no MPI, loads no weights.
#include <array>
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include "pipeline/command_line.hpp"
#include "pipeline/comparison.hpp"
#include "stages/report/text_table.hpp"

namespace quench::pipeline {

namespace po = boost::program_options;
using nlohmann::json;
using report::cut_to_width;
using report::TextTable;

namespace {

constexpr std::size_t value_width = 48;  // columns of a configuration's value

// Of compared_figures(), in the table of concepts; the last one is of joint models.
constexpr std::size_t summary_figures = 5;

// Figures that are no shares.
bool is_plain(const std::string& figure) {
  return figure.ends_with("_margin") || figure.ends_with("perplexity");
}

std::string shown(const std::string& figure, const json& value, bool with_sign = false) {
  if (!value.is_number()) return "–";
  char text[32];
  if (is_plain(figure)) {
    std::snprintf(text, sizeof text, with_sign ? "%+.2f" : "%.2f", value.get<double>());
  } else {
    std::snprintf(text, sizeof text, with_sign ? "%+.0f%%" : "%.0f%%", 100 * value.get<double>());
  }
  return text;
}

std::string interval(const std::string& figure, const json& difference) {
  return "[" + shown(figure, difference[1], true) + ", " + shown(figure, difference[2], true) + "]";
}

std::string p_of(const json& figure) {
  if (!figure["p"].is_number()) return "–";
  char text[16];
  std::snprintf(text, sizeof text, "%.2g", figure["p"].get<double>());
  return text;
}

std::string text_of(const json& value) {
  if (value.is_null()) return "(absent)";
  const auto text = value.get<std::string>();
  return text.empty() ? "(empty)" : cut_to_width(text, value_width);
}

std::string either(const json& pair) {
  const auto text = [](const json& value) {
    if (value.is_string()) return value.get<std::string>();
    char number[32];
    std::snprintf(number, sizeof number, "%g", value.get<double>());
    return std::string(number);
  };
  return pair[0] == pair[1] ? text(pair[0]) : text(pair[0]) + " → " + text(pair[1]);
}

void print_runs(const json& all) {
  for (const char* which : {"a", "b"}) {
    const auto& run = all[which];
    std::cout << (which[0] == 'a' ? "A  " : "B  ") << run["directory"].get<std::string>()
              << "  (run " << run["run_id"].get<std::string>() << ", "
              << run["outcome"].get<std::string>() << ")\n";
  }
}

// Keys grouped by section, those that decide results.
void print_configuration(const json& keys) {
  TextTable table({"configuration", "A", "B"});
  std::string section, others;
  for (const auto& item : keys) {
    const auto key = item["key"].get<std::string>();
    if (!item["decides"].get<bool>()) {
      others += (others.empty() ? "" : ", ") + key;
      continue;
    }
    const auto dot = key.find('.');
    if (key.substr(0, dot) != section) table.add_row({"[" + (section = key.substr(0, dot)) + "]"});
    table.add_row({"  " + key.substr(dot + 1), text_of(item["a"]), text_of(item["b"])});
  }
  if (section.empty()) {
    std::cout << "\nconfiguration: the same\n";
  } else {
    std::cout << "\n" << table.text();
  }
  if (!others.empty())
    std::cout << "differ too, but decide no result (paths count by what they lead to): " << others
              << "\n";
}

void print_inputs(const json& inputs) {
  if (inputs.empty()) {
    std::cout << "\ninputs: the same model and catalog\n";
    return;
  }
  const auto digits = [](const json& hash) {
    return hash.is_null() ? std::string("(absent)") : hash.get<std::string>().substr(0, 12);
  };
  TextTable table({"inputs, by SHA-256", "A", "B"});
  for (const auto& item : inputs)
    table.add_row({item["key"].get<std::string>(), digits(item["a"]), digits(item["b"])});
  std::cout << "\n" << table.text();
}

void add_figure(TextTable& table, std::vector<std::string> cells, const std::string& name,
                const json& figure) {
  cells.insert(cells.end(), {shown(name, figure["a"][0]), shown(name, figure["b"][0])});
  if (figure.contains("difference")) {
    const auto& d = figure["difference"];
    const auto n = figure["n"].get<std::int64_t>();
    cells.insert(cells.end(), {shown(name, d[0], true), interval(name, d), p_of(figure),
                               figure["paired"].get<bool>() ? std::to_string(n) : "unpaired",
                               figure["moved"].get<bool>() ? "moved" : ""});
  }
  table.add_row(std::move(cells));
}

bool is_of_edits_alone(const json& all) { return all["edits"] == "alone"; }

void print_overall(const json& all) {
  const auto counted = all["overall"]["concepts"].get<std::int64_t>();
  std::cout << (is_of_edits_alone(all) ? "\neach concept's edit alone"
                                       : "\nall concepts in one model")
            << ", test questions; "
            << (counted > 0
                    ? "means over the concepts that both runs edit and ask the same of: " +
                          std::to_string(counted)
                    : "each run's own means: no concept is edited and asked the same in both")
            << "\n\n";
  TextTable table({"figure", "A", "B", "B - A", "95% interval", "p", "n", ""});
  const auto& figures = all["overall"]["figures"];
  for (const auto& name : compared_figures())
    if (figures.contains(name)) add_figure(table, {name}, name, figures[name]);
  std::cout << table.text();
  if (!all["overall"]["not_resampled"].empty())
    std::cout << "what an edit alone answers to general questions and instructions is not stored: "
                 "in what is made of these\n(general_..., coherence, specificity, harmonic...) "
                 "concepts are resampled, they are not\n";
  if (!all["same_rules"].get<bool>())
    std::cout << "efficacy, specificity and what is left are measured differently in the two runs "
                 "(evaluation.objective,\nform, invalid, unguarded_fraction, letter or "
                 "cut_response): not compared\n";
  if (!all["same_answers"].get<bool>())
    std::cout << "answers are of other lengths in the two runs (evaluation.open_line, open_tokens "
                 "or instruction_tokens):\nwhat is measured of them is not compared\n";
}

std::string cell(const json& figures, const std::string& name) {
  if (!figures.contains(name)) return "";
  const auto& figure = figures[name];
  return shown(name, figure["a"][0]) + " → " + shown(name, figure["b"][0]) +
         (figure.value("moved", false) ? " *" : "  ");
}

void print_concepts(const json& all) {
  TextTable table({"concept", "status", "strength", "tokens", "efficacy  ", "specificity  ",
                   "coherence  ", "harmonic  "});
  const auto figures = summary_figures - (is_of_edits_alone(all) ? 1 : 0);
  if (figures == summary_figures) table.add_columns({"relearned  "});
  for (const auto& item : all["concepts"]) {
    std::vector<std::string> cells = {
        item["concept"].get<std::string>() + (item["same_record"].get<bool>() ? "" : " (changed)"),
        either(item["status"]), either(item["strength"]), either(item["tokens"])};
    for (std::size_t f = 0; f < figures; ++f)
      cells.push_back(cell(item["figures"], compared_figures()[f]));
    table.add_row(std::move(cells));
  }
  std::cout << "\n" << table.text() << "* moved beyond the 95% interval of its difference\n";
}

void print_moved(const json& all) {
  const auto moved = all["moved"].get<std::int64_t>(),
             compared = all["compared"].get<std::int64_t>();
  std::cout << "\n"
            << moved << " of " << compared << " figures of single concepts moved; about "
            << (compared + 10) / 20 << " would by chance alone\n";
  if (moved == 0) return;
  TextTable table({"concept", "figure", "A", "B", "B - A", "95% interval", "p", "n", ""});
  for (const auto& item : all["concepts"])
    for (const auto& name : compared_figures())
      if (item["figures"].contains(name) && item["figures"][name].value("moved", false))
        add_figure(table, {item["concept"].get<std::string>(), name}, name, item["figures"][name]);
  std::cout << "\n" << table.text();
}

void print_only_in(const json& names, const char* run) {
  if (names.empty()) return;
  std::cout << "only in " << run << ":";
  for (std::size_t i = 0; i < names.size(); ++i)
    std::cout << (i == 0 ? " " : ", ") << names[i].get<std::string>();
  std::cout << "\n";
}

void print(const json& all) {
  print_runs(all);
  print_configuration(all["configuration"]);
  print_inputs(all["inputs"]);
  print_overall(all);
  if (!all["concepts"].empty()) print_concepts(all);
  print_only_in(all["only_a"], "A");
  print_only_in(all["only_b"], "B");
  print_moved(all);
}

// Both, or one error with what is wrong with each.
std::array<SavedRun, 2> open_runs(const std::array<std::string, 2>& directories) {
  std::vector<SavedRun> runs;
  std::string problems;
  for (const auto& directory : directories) {
    try {
      runs.emplace_back(directory);
    } catch (const DataError& error) {
      problems += std::string("\n  ") + error.what();
    }
  }
  if (!problems.empty()) throw DataError("the runs cannot be compared:" + problems);
  return {runs[0], runs[1]};
}

}  // namespace

ExitCode diff_command(const Words& words) {
  CommandLine line{
      "quench diff A B [--alone] [--json]",
      "Two runs side by side: what differs in configuration, model and catalog, and "
      "which figures of the\njoint model moved beyond the 95% interval of their "
      "difference. Where both runs asked the same\nquestions the difference is paired, "
      "question by question, and far sharper than two intervals\nbeside each other.\n\n"
      "--alone compares each concept's edit alone in place of the joint models. What these "
      "answer to\ngeneral questions and instructions is not stored: in means of figures made of "
      "them concepts are\nresampled and they are not; of one concept such a figure is compared "
      "unpaired.",
      {},
      {}};
  line.options.add_options()("a", po::value<std::string>()->required(), "run directory")(
      "b", po::value<std::string>()->required(), "another one")(
      "resamples", po::value<std::int64_t>()->default_value(1000),
      "bootstrap resamples of the intervals, 100 or more")(
      "alone", "compare each concept's edit alone, not the joint models")(
      "json", "everything, as one JSON object (docs/guide.md)");
  line.positional.add("a", 1).add("b", 1);
  const auto values = line.parse(words);
  if (!values) return ExitCode::done;
  const auto resamples = (*values)["resamples"].as<std::int64_t>();
  if (resamples < 100 || resamples > 1'000'000)
    throw ConfigError("--resamples " + std::to_string(resamples) +
                      ": must be between 100 and 1000000");
  const auto runs = open_runs({(*values)["a"].as<std::string>(), (*values)["b"].as<std::string>()});
  const auto erased = values->contains("alone") ? Erased::alone : Erased::jointly;
  const auto all = compare_runs(runs[0], runs[1], erased, resamples);
  if (values->contains("json"))
    std::cout << all.dump(1, ' ', false, json::error_handler_t::replace) << "\n";
  else
    print(all);
  return ExitCode::done;
}

}  // namespace quench::pipeline
