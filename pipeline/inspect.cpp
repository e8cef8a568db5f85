// inspect: one concept of a run, in a terminal or as JSON. Starts no MPI, loads no weights.
#include <algorithm>
#include <cstdio>
#include <iostream>
#include <numeric>

#include "pipeline/command_line.hpp"
#include "pipeline/inspection.hpp"
#include "stages/report/text_table.hpp"

namespace quench::pipeline {

namespace po = boost::program_options;
using nlohmann::json;
using report::TextTable;

namespace {

std::string fixed(const json& value, int decimals = 2) {
  if (!value.is_number()) return "–";
  char text[32];
  std::snprintf(text, sizeof text, "%.*f", decimals, value.get<double>());
  return text;
}

std::string percent(const json& share) {
  return share.is_number() ? fixed(100 * share.get<double>(), 0) + "%" : "–";
}

std::string interval(const json& estimate) {
  return fixed(estimate[0]) + " [" + fixed(estimate[1]) + ", " + fixed(estimate[2]) + "]";
}

// A figure of a cell, with its interval where it has one.
std::string with_interval(const json& cell, const std::string& name) {
  const auto &low = cell[name + "_low"], &high = cell[name + "_high"];
  return low.is_number() ? interval({cell[name], low, high}) : fixed(cell[name]);
}

// One line of a token's text: what a terminal must not interpret is escaped.
std::string visible(const std::string& piece) {
  std::string out;
  for (const unsigned char c : piece) {
    if (c >= 0x20 && c != 0x7F) {
      out += static_cast<char>(c);
    } else {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\x%02x", c);
      out += escaped;
    }
  }
  return "'" + out + "'";
}

std::string token(const json& item) { return visible(item["text"].get<std::string>()); }

// The first `most` of a list, a line each by `add`; how many more there are.
template <typename Add>
void add_rows(const json& list, std::size_t most, TextTable& table, const Add& add) {
  for (std::size_t i = 0; i < std::min(most, list.size()); ++i) add(list[i]);
  std::cout << table.text();
  if (list.size() > most)
    std::cout << "... " << list.size() - most << " more (--tokens, --features, or --json)\n";
}

void print_features(const json& selection, std::size_t most) {
  json selected = json::array(), others = json::array();
  for (const auto& feature : selection["features"])
    (feature["selected"] ? selected : others).push_back(feature);
  const std::string key = selection["method"] == "ratio" ? "ratio" : "contrast";
  const auto figure = [&](const json& f) { return f[key].is_number() ? f[key].get<double>() : 0; };
  const auto higher = [&](const json& a, const json& b) { return figure(a) > figure(b); };
  std::stable_sort(selected.begin(), selected.end(), higher);
  std::stable_sort(others.begin(), others.end(), higher);
  std::cout << "\nfeatures: " << selected.size() << " of " << selection["features"].size()
            << " are the concept's own (method " << selection["method"].get<std::string>()
            << "); then the next ones, which are not\n\n";
  TextTable table({"strongest tokens", "feature", "contrast", "own share", "ratio", "why"});
  const auto add = [&](const json& feature) {
    std::string tokens;
    for (std::size_t i = 0; i < std::min<std::size_t>(6, feature["tokens"].size()); ++i)
      tokens += (i == 0 ? "" : " ") + feature["tokens"][i]["text"].get<std::string>();
    table.add_row({tokens, std::to_string(feature["id"].get<int>()), fixed(feature["contrast"]),
                   percent(feature["own_share"]),
                   feature["ratio"].is_number() && feature["ratio"] > 1000
                       ? "concept only"
                       : fixed(feature["ratio"]),
                   feature["why"].get<std::string>()});
  };
  for (const auto& feature : selected) add(feature);
  table.add_row({});
  add_rows(others, most, table, add);
}

void print_tokens(const json& selection, std::size_t most) {
  std::cout << "\ntokens: " << selection["tokens"].size()
            << " are edited; of row: norm of the edit at the chosen strength over the row's\n\n";
  TextTable tokens({"token", "id", "z", "sentences", "of row"});
  add_rows(selection["tokens"], most, tokens, [&](const json& item) {
    tokens.add_row({token(item), item["id"].dump(), fixed(item["z"], 1), item["sentences"].dump(),
                    percent(item.value("share_of_row", json()))});
  });
  std::cout << "\nvariants: " << selection["variants"].size()
            << " more are edited, which the concept's sentences lack\n\n";
  TextTable variants({"token", "id", "of", "found by", "of row"});
  add_rows(selection["variants"], most, variants, [&](const json& item) {
    variants.add_row({token(item), item["id"].dump(), token(item["stem"]),
                      item["found_by"].get<std::string>() +
                          (item.contains("cosine") ? " " + fixed(item["cosine"]) : ""),
                      percent(item.value("share_of_row", json()))});
  });
  std::cout << "\nnear misses: tokens that are not edited\n\n";
  TextTable misses({"token", "id", "z", "why"});
  add_rows(selection["near_misses"], most, misses, [&](const json& item) {
    misses.add_row(
        {token(item), item["id"].dump(), fixed(item["z"], 1), item["why"].get<std::string>()});
  });
}

// What the strength was chosen by.
std::string search_of(const json& edit) {
  if (edit["search"] == "target") return "target of efficacy " + fixed(edit["target_efficacy"]);
  return "grid, choice " + edit["choice"].get<std::string>();
}

// How the cell fared: gates are on harm alone, so one that passed them may have ended all the same.
std::string end_of(const json& cell) {
  if (cell["stopped"]) return "stopped: too much of the concept left";
  return cell["passed"] ? "passed" : "failed";
}

// The strengths tried, ascending.
void print_cells(const json& edit) {
  std::vector<std::size_t> order(edit["cells"].size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(
      order, {}, [&](std::size_t i) { return edit["cells"][i]["strength"].get<double>(); });
  TextTable table({"strength", "tried", "n", "efficacy", "specificity", "coherence", "harmonic",
                   "error of difference", "gates"});
  for (const auto i : order) {
    const auto& cell = edit["cells"][i];
    table.add_row({fixed(cell["strength"]) + (cell["strength"] == edit["strength"] ? " *" : ""),
                   std::to_string(i + 1), fixed(cell["efficacy_n"], 0),
                   with_interval(cell, "efficacy"), with_interval(cell, "specificity"),
                   with_interval(cell, "coherence"), with_interval(cell, "harmonic"),
                   fixed(cell["error"]), end_of(cell)});
  }
  std::cout << "\nstatus " << edit["status"].get<std::string>() << ", strength "
            << fixed(edit["strength"]) << " (* chosen; " << search_of(edit)
            << "; train split)\nn: questions that efficacy is of; error of difference: standard "
               "error of the harmonic mean's distance from the highest\n\n"
            << table.text();
}

void print_edit(const json& edit) {
  print_cells(edit);
  if (edit["overlaps"].empty()) return;
  std::cout << "\nin the joint edit, " << edit["shared"].size()
            << " tokens are shared with concepts of other groups (shared_tokens = "
            << edit["shared_tokens"].get<std::string>() << "), " << edit["dropped"].size()
            << " of this concept's rows were dropped\n\n";
  TextTable overlaps({"concept", "shared tokens", "cosine of the edits"});
  for (const auto& pair : edit["overlaps"])
    overlaps.add_row({pair["concept"], pair["tokens"].dump(), fixed(pair["cosine"])});
  std::cout << overlaps.text();
}

void print_scores(const json& test) {
  TextTable table({"test split", "alone", "jointly", "n"});
  for (std::size_t i = 0; i < test["alone"].size(); ++i)
    table.add_row({test["alone"][i]["figure"], interval(test["alone"][i]["value"]),
                   interval(test["joint"][i]["value"]), test["joint"][i]["n"].dump()});
  std::cout << "\nn: questions (or other items) that a figure is of\n\n" << table.text();
}

void print(const json& all, std::size_t tokens, std::size_t features) {
  std::cout << all["concept"].get<std::string>() << "\n  identity "
            << all["identity"].get<std::string>().substr(0, 16) << ", " << all["sentences"]
            << " sentences\n";
  if (all.contains("knowledge"))
    std::cout << "  base margin " << interval(all["knowledge"]["margin"]) << ": "
              << (all["knowledge"]["known"] ? "known to the model" : "not shown to be known")
              << "\n";
  if (all.contains("selection")) {
    if (all["selection"]["alone"])
      std::cout << "  contrasted with the neutral text and general word frequencies: the catalog "
                   "has no other concept\n";
    print_features(all["selection"], features);
    print_tokens(all["selection"], tokens);
  }
  if (all.contains("edit")) print_edit(all["edit"]);
  if (all.contains("test")) print_scores(all["test"]);
}

}  // namespace

ExitCode inspect_command(const Words& words) {
  CommandLine line{"quench inspect RUN --concept NAME [--json]",
                   "What a run found and did for one concept: features with their tokens and why "
                   "they were\nselected or not, edited tokens and by how much, variants, near "
                   "misses, the strengths that were\ntried, and the figures on the test split.",
                   {},
                   {}};
  line.options.add_options()("run", po::value<std::string>()->required(), "run directory")(
      "concept", po::value<std::string>()->required(), "name or alias")(
      "tokens", po::value<std::size_t>()->default_value(40), "tokens of a list shown at most")(
      "features", po::value<std::size_t>()->default_value(5),
      "features shown at most that are not the concept's own")(
      "json", "everything, as one JSON object (docs/guide.md)");
  line.positional.add("run", 1);
  const auto values = line.parse(words);
  if (!values) return ExitCode::done;
  const SavedRun run((*values)["run"].as<std::string>());
  const auto all = inspect_concept(run, (*values)["concept"].as<std::string>());
  if (values->contains("json"))
    std::cout << all.dump(1, ' ', false, json::error_handler_t::replace) << "\n";
  else
    print(all, (*values)["tokens"].as<std::size_t>(), (*values)["features"].as<std::size_t>());
  return ExitCode::done;
}

}  // namespace quench::pipeline
