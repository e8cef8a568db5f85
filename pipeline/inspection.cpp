#include "pipeline/inspection.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <map>
#include <numeric>

#include "cluster/store.hpp"
#include "model/tokenizer.hpp"
#include "stages/dictionary/dictionary.hpp"
#include "stages/erasure/erasure.hpp"
#include "stages/evaluation/evaluation.hpp"
#include "stages/selection/selection.hpp"
#include "stages/selection/verdict.hpp"

namespace quench::pipeline {

using cluster::StoreReader;
using nlohmann::json;

namespace {

json number(double x) { return std::isfinite(x) ? json(x) : json(nullptr); }

std::string fixed(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f", value);
  return text;
}

json to_json(const Estimate& e) {
  return {number(e.value), number(e.interval.low), number(e.interval.high)};
}

const char* reason_of(selection::Miss miss) {
  switch (miss) {
    case selection::Miss::neutral:
      return "the neutral text has it";
    case selection::Miss::low_z:
      return "z-score too low";
    case selection::Miss::no_feature:
      return "no selected feature holds it";
    case selection::Miss::variant_low_z:
      return "variant that others use";
  }
  return "";
}

class Inspection {
 public:
  Inspection(const SavedRun& run, const std::string& name)
      : run_(run),
        corpus_(run.file("corpus.h5")),
        concept_(corpus_.concept_names().find(name)),
        tokenizer_(model::Tokenizer::from_file(run.model_directory() / "tokenizer.json")) {}

  json all() const {
    json out = {{"concept", corpus_.name(concept_)},
                {"identity", corpus_.hash(concept_)},
                {"sentences", corpus_.frequencies(concept_).sentences}};
    if (run_.has("baseline.h5")) out["knowledge"] = knowledge();
    if (run_.has("edits.h5")) out["edit"] = edit();
    if (run_.has("selection.h5")) out["selection"] = selection_part();
    if (run_.has("edits.h5") && run_.has("selection.h5")) add_shares(out["selection"]);
    if (run_.has("evaluation.h5")) out["test"] = scores();
    return out;
  }

 private:
  cluster::Range row() const { return {concept_, concept_ + 1}; }

  std::string text(std::int32_t id) const {
    return tokenizer_.decode(std::vector<std::int32_t>{id}, false);
  }

  std::string option(const std::string& key) const {
    return run_.manifest().at("configuration").value(key, "");
  }

  template <typename T>
  std::vector<T> ragged(const StoreReader& store, const std::string& name) const {
    return store.read_ragged<T>(name, row()).at(0);
  }

  json knowledge() const {
    const auto known = evaluation::read_knowledge(run_.file("baseline.h5"))[concept_];
    return {{"margin", to_json(known.margin)}, {"known", known.known}};
  }

  json selection_part() const {
    const StoreReader store(run_.file("selection.h5"), "selection", selection::schema);
    const auto of_concept = [&](const char* name) {
      return store.read_rows<std::int64_t>(name, row()).at(0);
    };
    json out = {{"method", option("selection.method")},
                {"group", of_concept("concepts/group")},
                {"background_sentences", of_concept("concepts/background_sentences")},
                {"alone", store.read_rows<std::uint8_t>("concepts/alone", row()).at(0) != 0},
                {"fallback", store.read_rows<std::uint8_t>("concepts/fallback", row()).at(0) != 0}};
    const auto factors = dictionary::Dictionaries(run_.file("dictionary.h5")).factors(concept_);
    out["features"] = features(store, factors, out["fallback"]);
    out["tokens"] = tokens(store, factors, out["features"]);
    out["variants"] = variants(store);
    out["near_misses"] = misses(store);
    return out;
  }

  json features(const StoreReader& store, const Factors& factors, bool fallback) const {
    const auto counts = store.read<std::int64_t>("concepts/feature_count");
    const auto first = std::accumulate(counts.begin(), counts.begin() + concept_, std::int64_t{0});
    const cluster::Range range{first, first + counts[concept_]};
    const auto contrast = store.read_rows<double>("features/contrast", range);
    const auto share = store.read_rows<double>("features/own_share", range);
    const auto ratio = store.read_rows<double>("features/ratio", range);
    const auto selected = store.read_rows<std::uint8_t>("features/selected", range);
    const auto judged = store.read_rows<std::uint8_t>("features/judged", range);
    const auto confidence = store.read_rows<double>("features/confidence", range);
    const auto description = store.read_strings("features/description", range);
    json list = json::array();
    for (std::int64_t k = 0; k < range.size(); ++k) {
      json feature = {{"id", k},
                      {"selected", selected[k] != 0},
                      {"contrast", number(contrast[k])},
                      {"own_share", number(share[k])},
                      {"ratio", number(ratio[k])},
                      {"tokens", json::array()}};
      const auto state = static_cast<selection::Judged>(judged[k]);
      if (!description[k].empty()) feature["description"] = description[k];
      if (state == selection::Judged::yes || state == selection::Judged::no)
        feature["judge"] = {{"is_member", state == selection::Judged::yes},
                            {"confidence", confidence[k]}};
      feature["why"] =
          fallback ? "no feature has the least ratio: all are taken" : why(feature, state);
      for (const auto i : selection::strongest_first(factors, k)) {
        const auto id = factors.tokens[factors.rows[i]];
        feature["tokens"].push_back(
            {{"id", id}, {"text", text(id)}, {"coefficient", number(factors.coefficients[i])}});
      }
      list.push_back(std::move(feature));
    }
    return list;
  }

  std::string why(const json& feature, selection::Judged state) const {
    const auto method = option("selection.method");
    const bool selected = feature["selected"];
    if (method == "manual") return selected ? "chosen by hand" : "not chosen by hand";
    if (method != "judge") {
      const double figure = feature[method].is_null() ? NAN : feature[method].get<double>();
      return method + " " + fixed(figure) + (selected ? " >= " : " < ") +
             option("selection." + method);
    }
    if (state == selection::Judged::not_asked) return "the judge was not asked";
    if (state == selection::Judged::missing) return "the judge's answer is missing";
    const auto confidence = fixed(feature["judge"]["confidence"]);
    if (state == selection::Judged::no) return "judge: no, confidence " + confidence;
    return "judge: yes, confidence " + confidence + (selected ? " >= " : " < ") +
           option("selection.judge_confidence");
  }

  json tokens(const StoreReader& store, const Factors& factors, const json& features) const {
    const auto ids = ragged<std::int32_t>(store, "tokens/ids");
    const auto z = ragged<double>(store, "tokens/z");
    const auto sentences = ragged<std::int32_t>(store, "tokens/sentences");
    std::map<std::int32_t, json> holders;
    for (const auto& feature : features) {
      if (!feature["selected"]) continue;
      for (const auto i : selection::strongest_first(factors, feature["id"]))
        holders[factors.tokens[factors.rows[i]]].push_back(feature["id"]);
    }
    json list = json::array();
    for (const auto i : by_z(z))
      list.push_back({{"id", ids[i]},
                      {"text", text(ids[i])},
                      {"z", number(z[i])},
                      {"sentences", sentences[i]},
                      {"features", holders[ids[i]]}});
    return list;
  }

  static std::vector<std::size_t> by_z(const std::vector<double>& z) {
    std::vector<std::size_t> order(z.size());
    std::iota(order.begin(), order.end(), 0);
    std::ranges::stable_sort(order, [&](auto a, auto b) { return z[a] > z[b]; });
    return order;
  }

  json variants(const StoreReader& store) const {
    const auto ids = ragged<std::int32_t>(store, "variants/ids");
    const auto stems = ragged<std::int32_t>(store, "variants/stems");
    const auto kinship = ragged<std::uint8_t>(store, "variants/kinship");
    const auto z = ragged<double>(store, "variants/z");
    const auto cosine = ragged<double>(store, "variants/cosine");
    json list = json::array();
    for (const auto i : by_z(z)) {
      const bool letters =
          static_cast<selection::Kinship>(kinship[i]) == selection::Kinship::letters;
      list.push_back({{"id", ids[i]},
                      {"text", text(ids[i])},
                      {"stem", {{"id", stems[i]}, {"text", text(stems[i])}}},
                      {"found_by", letters ? "letters" : "neighbour"},
                      {"z", number(z[i])}});
      if (!letters) list.back()["cosine"] = number(cosine[i]);
    }
    return list;
  }

  json misses(const StoreReader& store) const {
    const auto ids = ragged<std::int32_t>(store, "misses/ids");
    const auto z = ragged<double>(store, "misses/z");
    const auto reasons = ragged<std::uint8_t>(store, "misses/reason");
    json list = json::array();
    for (std::size_t i = 0; i < ids.size(); ++i)
      list.push_back({{"id", ids[i]},
                      {"text", text(ids[i])},
                      {"z", number(z[i])},
                      {"why", reason_of(static_cast<selection::Miss>(reasons[i]))}});
    return list;
  }

  json edit() const {
    const StoreReader store(run_.file("edits.h5"), "erasure", erasure::schema);
    const erasure::Edits edits(run_.file("edits.h5"));
    json out = {{"status", edits.status(concept_)},
                {"strength", edits.strength(concept_)},
                {"search", store.text_attribute("/", "search")},
                {"choice", store.text_attribute("/", "choice")},
                {"target_efficacy", store.number_attribute("/", "target_efficacy")},
                {"joint_factor", edits.joint_factor()},
                {"shared_tokens", store.text_attribute("/", "shared_tokens")},
                {"cells", cells(store)},
                {"overlaps", json::array()}};
    for (const char* which : {"shared", "dropped"}) {
      out[which] = json::array();
      for (const auto id : ragged<std::int32_t>(store, std::string("edits/") + which))
        out[which].push_back({{"id", id}, {"text", text(id)}});
    }
    const auto first = store.read<std::int64_t>("overlaps/first");
    const auto second = store.read<std::int64_t>("overlaps/second");
    const auto tokens = store.read<std::int64_t>("overlaps/tokens");
    const auto cosine = store.read<double>("overlaps/cosine");
    for (std::size_t i = 0; i < first.size(); ++i) {
      if (first[i] != concept_ && second[i] != concept_) continue;
      out["overlaps"].push_back(
          {{"concept", corpus_.name(first[i] == concept_ ? second[i] : first[i])},
           {"tokens", tokens[i]},
           {"cosine", number(cosine[i])}});
    }
    return out;
  }

  evaluation::Options evaluation_options() const {
    evaluation::Options options;
    OptionTable table;
    evaluation::describe(options, table);
    run_.read_options(table);
    return options;
  }

  json cells(const StoreReader& store) const {
    const auto options = evaluation_options();
    const auto concepts = store.read<std::int64_t>("cells/concept");
    const auto strengths = store.read<double>("cells/strength");
    const auto passed = store.read<std::uint8_t>("cells/passed");
    const auto error = store.read<double>("cells/error");
    const auto figures = store.read_strings("cells/figures");
    const auto scores = store.read<double>("cells/scores");
    json list = json::array();
    for (std::size_t i = 0; i < concepts.size(); ++i) {
      if (concepts[i] != concept_) continue;
      json cell = {
          {"strength", strengths[i]}, {"passed", passed[i] != 0}, {"error", number(error[i])}};
      for (std::size_t f = 0; f < figures.size(); ++f)
        cell[figures[f]] = number(scores[i * figures.size() + f]);
      cell["stopped"] =
          cell["own_left"].is_number() && evaluation::stops_at(options, cell["own_left"]);
      list.push_back(std::move(cell));
    }
    return list;
  }

  // How much of each token's row the edit takes at the chosen strength.
  void add_shares(json& selection) const {
    const StoreReader store(run_.file("edits.h5"), "erasure", erasure::schema);
    const erasure::Edits edits(run_.file("edits.h5"));
    const auto edit = edits.edit(concept_);
    const auto norms = ragged<float>(store, "edits/row_norms");
    std::map<std::int32_t, json> shares;
    for (std::size_t i = 0; i < edit.ids.size(); ++i) {
      const auto* row = edit.values.data() + i * edit.width;
      const double squares = std::inner_product(row, row + edit.width, row, 0.0);
      shares[edit.ids[i]] = number(edits.strength(concept_) * std::sqrt(squares) / norms[i]);
    }
    for (const char* list : {"tokens", "variants"})
      for (auto& token : selection[list]) token["share_of_row"] = shares[token["id"]];
  }

  json scores() const {
    const StoreReader store(run_.file("evaluation.h5"), "evaluation", evaluation::schema);
    json out;
    for (const char* which : {"alone", "joint"}) {
      const auto figures =
          evaluation::from_row(store.read_rows<double>(std::string(which) + "/scores", row()));
      out[which] = json::array();
      evaluation::Scores::for_each(figures, [&](const std::string& name, const Estimate& e) {
        out[which].push_back({{"figure", name}, {"value", to_json(e)}, {"n", e.n}});
      });
    }
    return out;
  }

  const SavedRun& run_;
  corpus::Corpus corpus_;
  std::int64_t concept_;
  model::Tokenizer tokenizer_;
};

}  // namespace

json inspect_concept(const SavedRun& run, const std::string& name) {
  return Inspection(run, name).all();
}

}  // namespace quench::pipeline
