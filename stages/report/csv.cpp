#include "stages/report/csv.hpp"

namespace quench::report {

using nlohmann::json;

namespace {

// A number or text as a cell; null (not measured) is empty.
std::string cell_of(const json& value) {
  if (value.is_null()) return "";
  return value.is_string() ? csv_cell(value.get<std::string>()) : value.dump();
}

class Csv {
 public:
  explicit Csv(const std::vector<std::string>& header) {
    for (const auto& name : header) add(name);
    end_row();
  }
  void add(const json& value) {
    if (!first_) text_ += ",";
    first_ = false;
    text_ += cell_of(value);
  }
  // [value, low, high, n]; empty cells for what is missing of it.
  void add_estimate(const json& object, const std::string& name) {
    const bool there = object.is_object() && object.contains(name);
    for (std::size_t i = 0; i < 4; ++i)
      add(there && i < object[name].size() ? object[name][i] : json());
  }
  void end_row() {
    text_ += "\r\n";
    first_ = true;
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
  bool first_ = true;
};

void add_quadruple(std::vector<std::string>& header, const std::string& name) {
  header.insert(header.end(), {name, name + "_low", name + "_high", name + "_n"});
}

std::string concepts_csv(const json& document) {
  std::vector<std::string> header = {"concept",  "status",   "strength", "tokens",
                                     "features", "variants", "shared",   "dropped"},
                           figures;
  for (const auto& item : document["concepts"]) {
    if (!item.contains("joint")) continue;
    for (const auto& [name, value] : item["joint"].items()) {
      if (value.is_array()) figures.push_back(name);
    }
    break;
  }
  // Behind what was measured, the figures by a judge's verdicts, where one was asked.
  std::vector<std::string> states = {"joint", "alone"};
  if (document.contains("mean") && document["mean"].contains("by_judge"))
    states.emplace_back("by_judge");
  for (const auto& which : states) {
    for (const auto& name : figures) add_quadruple(header, which + "_" + name);
  }
  Csv csv(header);
  for (const auto& item : document["concepts"]) {
    for (const char* key : {"name", "status", "strength", "token_count", "feature_count",
                            "variant_count", "shared_count"})
      csv.add(item.value(key, json()));
    csv.add(item.contains("dropped") ? json(item["dropped"].size()) : json());
    for (const auto& which : states) {
      const auto scores = item.value(which, json());
      for (const auto& name : figures) csv.add_estimate(scores, name);
    }
    csv.end_row();
  }
  return csv.text();
}

// The joint edit of more and more concepts.
std::string curve_csv(const json& document) {
  const std::vector<std::string> figures = {
      "efficacy",       "specificity",      "own_left",      "similar_left",
      "general_left",   "own_accuracy",     "own_margin",    "similar_accuracy",
      "similar_margin", "general_accuracy", "general_margin"};
  std::vector<std::string> header = {"erased"};
  for (const std::string which : {"", "alone_"})
    for (const auto& name : figures) add_quadruple(header, which + name);
  Csv csv(header);
  for (const auto& point : document.value("curve", json::array())) {
    csv.add(point["erased"]);
    const auto alone = point.value("alone", json::object());
    for (const auto* which : {&point, &alone})
      for (const auto& name : figures) csv.add_estimate(*which, name);
    csv.end_row();
  }
  return csv.text();
}

std::string cells_csv(const json& document) {
  const std::vector<std::string> figures = {"efficacy", "specificity",  "coherence", "general_left",
                                            "own_left", "similar_left", "harmonic"};
  const std::vector<std::string> others = {"error", "passed", "reused", "measured"};
  std::vector<std::string> header = {"concept", "strength"};
  for (const auto& name : figures) add_quadruple(header, name);
  header.insert(header.end(), others.begin(), others.end());
  Csv csv(header);
  for (const auto& item : document["concepts"]) {
    for (const auto& cell : item.value("cells", json::array())) {
      csv.add(item["name"]);
      csv.add(cell["strength"]);
      for (const auto& name : figures) csv.add_estimate(cell, name);
      for (const auto& name : others) csv.add(cell.value(name, json()));
      csv.end_row();
    }
  }
  return csv.text();
}

const std::vector<std::string>& relearning_figures() {
  static const std::vector<std::string> names = {"own_accuracy",   "own_margin", "similar_accuracy",
                                                 "similar_margin", "own_left",   "similar_left"};
  return names;
}

// An attack a curve.
std::string relearning_csv(const json& document) {
  std::vector<std::string> header = {"concept", "seed", "start", "step", "loss"};
  for (const auto& name : relearning_figures()) add_quadruple(header, name);
  Csv csv(header);
  for (const auto& attack : document.value("attacks", json::array())) {
    for (const auto& point : attack["points"]) {
      csv.add(document["concepts"][attack["concept"].get<std::size_t>()]["name"]);
      csv.add(attack["seed"]);
      csv.add(attack["erased"].get<bool>() ? "erased" : "untouched");
      csv.add(point["step"]);
      csv.add(point["loss"]);
      for (const auto& name : relearning_figures()) csv.add_estimate(point, name);
      csv.end_row();
    }
  }
  return csv.text();
}

// The means over seeds of each attacked concept, then those over concepts, whose concept is empty.
std::string relearning_means_csv(const json& document) {
  std::vector<std::string> header = {"concept", "seeds", "start", "step"};
  for (const auto& name : relearning_figures()) add_quadruple(header, name);
  Csv csv(header);
  const auto add = [&](const json& name, const json& relearning) {
    for (const auto& [start, curve] : relearning.items()) {
      for (const auto& point : curve["points"]) {
        csv.add(name);
        csv.add(curve["seeds"]);
        csv.add(start);
        csv.add(point["step"]);
        for (const auto& figure : relearning_figures()) csv.add_estimate(point, figure);
        csv.end_row();
      }
    }
  };
  for (const auto& item : document["concepts"])
    add(item["name"], item.value("relearning", json::object()));
  add(json(), document.value("relearning", json::object()));
  return csv.text();
}

std::string tokens_csv(const json& document) {
  Csv csv({"concept", "token", "z"});
  for (const auto& item : document["concepts"]) {
    for (const auto& token : item.value("tokens", json::array())) {
      csv.add(item["name"]);
      csv.add(token[0]);
      csv.add(token[1]);
      csv.end_row();
    }
  }
  return csv.text();
}

// Answers before and after; those that are left out are empty cells, and the last column says so.
std::string examples_csv(const json& document) {
  const std::vector<std::string> texts = {"prompt", "accepted",   "base",
                                          "erased", "base_right", "erased_right"};
  Csv csv({"concept", "subset", "prompt", "accepted", "untouched", "erased", "untouched_right",
           "erased_right", "hidden"});
  const auto add = [&](const json& name, const std::string& subset, const json& example) {
    csv.add(name);
    csv.add(subset);
    for (const auto& key : texts) csv.add(example.value(key, json()));
    csv.add(!example.contains("erased"));
    csv.end_row();
  };
  for (const auto& item : document["concepts"])
    for (const auto& example : item.value("examples", json::array()))
      add(item["name"], example["subset"].get<std::string>(), example);
  for (const auto& example : document.value("instructions", json::array()))
    add("", "instruction", example);
  return csv.text();
}

std::string overlaps_csv(const json& document) {
  Csv csv({"concept", "other", "tokens", "cosine"});
  for (const auto& pair : document.value("overlaps", json::array())) {
    for (const int end : {0, 1})
      csv.add(document["concepts"][pair[end].get<std::size_t>()]["name"]);
    csv.add(pair[2]);
    csv.add(pair[3]);
    csv.end_row();
  }
  return csv.text();
}

std::string collisions_csv(const json& document) {
  Csv csv({"token", "concept"});
  for (const auto& collision : document.value("collisions", json::array())) {
    for (const auto& c : collision[1]) {
      csv.add(collision[0]);
      csv.add(document["concepts"][c.get<std::size_t>()]["name"]);
      csv.end_row();
    }
  }
  return csv.text();
}

}  // namespace

std::string csv_cell(const std::string& text) {
  const bool formula = text.find_first_of("=+-@\t\r") == 0;
  std::string safe = formula ? "'" + text : text;
  if (safe.find_first_of(",\"\r\n") == std::string::npos) return safe;
  std::string quoted = "\"";
  for (const char c : safe) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

std::vector<CsvFile> csv_files(const json& document) {
  return {{"concepts.csv", concepts_csv(document)},
          {"cells.csv", cells_csv(document)},
          {"curve.csv", curve_csv(document)},
          {"relearning.csv", relearning_csv(document)},
          {"relearning_means.csv", relearning_means_csv(document)},
          {"tokens.csv", tokens_csv(document)},
          {"collisions.csv", collisions_csv(document)},
          {"overlaps.csv", overlaps_csv(document)},
          {"examples.csv", examples_csv(document)}};
}

}  // namespace quench::report
