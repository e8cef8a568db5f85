#include "pipeline/comparison.hpp"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include "cluster/communicator.hpp"
#include "pipeline/run_directory.hpp"
#include "stages/erasure/erasure.hpp"
#include "stages/evaluation/concept_mean.hpp"
#include "stages/evaluation/difference.hpp"
#include "stages/report/values.hpp"

namespace quench::pipeline {

using evaluation::Difference;
using evaluation::figure_index;
using nlohmann::json;
using report::number;

namespace {

constexpr const char* relearned = "relearned";
// Resamples of fewer items say nothing about others like them.
constexpr std::int64_t fewest_items = 5;
// Equal runs on other ranks differ by float32 rounding, to about 3e-5 of a nat.
constexpr double rounding = 1e-4;

bool has_any(const std::string& figure, std::initializer_list<const char*> parts) {
  return std::ranges::any_of(
      parts, [&](const char* part) { return figure.find(part) != std::string::npos; });
}

// Whether the figure depends on what efficacy and specificity are measured by.
bool by_rules(const std::string& figure) {
  return has_any(figure, {"efficacy", "specificity", "harmonic", "letter", "_left"});
}

// Whether it depends on how long generated answers are.
bool by_answers(const std::string& figure) {
  return has_any(figure, {"open_", "rouge_l", "answer", "repetition", "distinct_", "coherence",
                          "harmonic_all"});
}

// The figures of the summary come first, then all else that is measured of an edited model.
std::vector<std::string> make_compared_figures() {
  std::vector<std::string> names{"efficacy", "specificity", "coherence",    "harmonic_all",
                                 relearned,  "own_left",    "similar_left", "general_left"};
  for (const auto& name : evaluation::figure_names())
    if (!name.starts_with("base_") && std::ranges::find(names, name) == names.end())
      names.push_back(name);
  return names;
}

// Whether the figure is of questions that all concepts share, in whole or in part.
bool has_shared_items(const std::string& figure) {
  return has_any(figure, {"general", "coherence", "specificity", "harmonic"});
}

// Whether it is of such questions alone: then it is one figure of the run, not one of each concept.
bool is_of_the_run(const std::string& figure) {
  return figure.starts_with("general_") || figure == "coherence";
}

json to_json(const Estimate& e) {
  return {number(e.value), number(e.interval.low), number(e.interval.high)};
}

json to_json(const Difference& d) {
  return {number(d.value), number(d.interval.low), number(d.interval.high)};
}

// More than rounding makes of the same.
bool differ(double a, double b) {
  return std::abs(a - b) > rounding * std::max({1.0, std::abs(a), std::abs(b)});
}

// What is compared: means over concepts, or one concept.
enum class Of : std::uint8_t { means, one_concept };

// One figure in both runs. Nothing: they cannot be compared. A difference of less than `fewest` has
// no p, and never counts as moved; nor does rounding, nor a mean whose p says otherwise.
json side_by_side(Of of, const Estimate& a, const Estimate& b, const std::optional<Difference>& d,
                  bool paired, std::int64_t fewest) {
  json figure = {{"a", to_json(a)}, {"b", to_json(b)}};
  if (!d || std::isnan(d->value)) return figure;
  const bool enough = d->n >= fewest;
  const bool by_chance = of == Of::means && d->p >= 0.05;
  figure["difference"] = to_json(*d);
  figure["n"] = d->n;
  figure["p"] = enough ? number(d->p) : json();
  figure["paired"] = paired;
  figure["moved"] = enough && !by_chance && d->is_beyond_interval() && differ(a.value, b.value);
  return figure;
}

// Keys whose values differ, in order; a key that one side lacks is null there.
json differing(const json& a, const json& b) {
  std::set<std::string> keys;
  for (const auto* side : {&a, &b})
    for (const auto& [key, value] : side->items()) keys.insert(key);
  json list = json::array();
  for (const auto& key : keys) {
    const auto was = a.value(key, json()), is = b.value(key, json());
    if (was != is) list.push_back({{"key", key}, {"a", was}, {"b", is}});
  }
  return list;
}

json describe_run(const SavedRun& run) {
  return {{"directory", run.directory().string()},
          {"run_id", run.manifest().at("run_id")},
          {"outcome", run.manifest().value("outcome", "unknown")}};
}

// A concept that both runs have: its index in each.
struct Common {
  std::int64_t a = 0, b = 0;
  bool paired = false;  // asked the same in both
};

// A concept's figures in one run, of its items. Those of general items are what the run made of
// them, the same in all resamples, where these items are not stored.
class ConceptFigures {
 public:
  ConceptFigures(const EvaluatedRun& run, std::int64_t c, const std::string& purpose)
      : sample_(run.sample(c, purpose)) {
    if (run.has_general()) return;
    const auto scores = run.scores(c);
    for (std::size_t f = 0; f < scores.figures.size(); ++f)
      if (has_shared_items(evaluation::figure_names()[f]))
        stored_.emplace_back(f, scores.figures[f].value);
  }

  const evaluation::Sample& sample() const { return sample_; }
  std::vector<double> figures() const { return with_stored(sample_.figures()); }
  std::vector<double> resampled(std::int64_t draw, std::int64_t again) const {
    return with_stored(sample_.resampled(draw, again));
  }

 private:
  std::vector<double> with_stored(std::vector<double> figures) const {
    for (const auto& [f, value] : stored_) figures[f] = value;
    return figures;
  }

  evaluation::Sample sample_;
  std::vector<std::pair<std::size_t, double>> stored_;  // figure, value
};

// Means over concepts of both runs' figures and of their paired differences. A figure that one
// run lacks of a concept is left out of all three.
class Means {
 public:
  // draws_general: whether resamples draw general items, the same for all concepts.
  Means(std::int64_t total, std::int64_t resamples, bool draws_general)
      : a_(total, 0, ""),
        b_(total, 0, ""),
        difference_(total, resamples, "diff"),
        of_concepts_(evaluation::figure_names().size()),
        resamples_(resamples),
        draws_general_(draws_general) {}

  // Two of one purpose: figures of a concept, or samples over seeds.
  template <typename Drawn>
  void add(const Drawn& a, const Drawn& b) {
    auto in_a = a.figures(), in_b = b.figures(), difference = in_b;
    for (std::size_t f = 0; f < in_a.size(); ++f) {
      difference[f] -= in_a[f];
      if (std::isnan(difference[f]))
        in_a[f] = in_b[f] = difference[f];
      else
        of_concepts_[f].push_back(difference[f]);
    }
    a_.add(place_, in_a, {});
    b_.add(place_, in_b, {});
    difference_.add(place_++, difference, [&](auto draw, auto again) {
      auto row = b.resampled(draw, again);
      const auto before = a.resampled(draw, again);
      for (std::size_t f = 0; f < row.size(); ++f) row[f] -= before[f];
      return row;
    });
  }
  evaluation::Scores a() const { return a_.finish(*self_); }
  evaluation::Scores b() const { return b_.finish(*self_); }
  // p by flipping the signs of the concepts' differences, which are independent where no question
  // is shared, or where shared ones are taken as they are; else the bootstrap's.
  std::vector<Difference> difference() const {
    std::vector<double> p;
    const auto mean = difference_.finish(*self_, &p);
    std::vector<Difference> all;
    for (std::size_t f = 0; f < mean.figures.size(); ++f) {
      const auto& e = mean.figures[f];
      const auto& name = evaluation::figure_names()[f];
      const bool is_shown = !name.starts_with("base_") && !of_concepts_[f].empty();
      if (is_shown && !(draws_general_ && has_shared_items(name)))
        p[f] = evaluation::sign_flip_p(of_concepts_[f], resamples_, "diff");
      all.push_back({e.value, e.interval, p[f], e.n});
    }
    return all;
  }

 private:
  std::unique_ptr<cluster::Communicator> self_ = cluster::make_self_communicator();
  evaluation::ConceptMean a_, b_, difference_;
  std::vector<std::vector<double>> of_concepts_;  // a figure's differences
  std::int64_t resamples_, place_ = 0;
  bool draws_general_;
};

class Comparison {
 public:
  Comparison(const SavedRun& a, const SavedRun& b, Erased erased, std::int64_t resamples)
      : erased_(erased),
        a_(a, erased),
        b_(b, erased),
        resamples_(resamples),
        same_rules_(a_.rules_text() == b_.rules_text()),
        same_answers_(a_.answers_text() == b_.answers_text()) {}

  json all() {
    const auto &in_a = a_.run().manifest(), &in_b = b_.run().manifest();
    json out = {{"a", describe_run(a_.run())},
                {"b", describe_run(b_.run())},
                {"edits", erased_ == Erased::alone ? "alone" : "joint"},
                {"configuration", differing(in_a.at("configuration"), in_b.at("configuration"))},
                {"inputs", differing(in_a.at("inputs"), in_b.at("inputs"))},
                {"same_rules", same_rules_},
                {"same_answers", same_answers_},
                {"only_a", json::array()},
                {"only_b", json::array()}};
    for (auto& item : out["configuration"])
      item["decides"] = decides_results(item["key"].get<std::string>());
    const auto common = match_concepts(out);
    add_concepts(common, out);
    return out;
  }

 private:
  // By name; what only one run has is listed.
  std::vector<Common> match_concepts(json& out) const {
    std::map<std::string, std::int64_t> places;
    for (std::int64_t c = 0; c < b_.concepts(); ++c) places[b_.corpus().name(c)] = c;
    std::vector<Common> common;
    for (std::int64_t c = 0; c < a_.concepts(); ++c) {
      const auto found = places.find(a_.corpus().name(c));
      if (found == places.end()) {
        out["only_a"].push_back(a_.corpus().name(c));
      } else {
        common.push_back({c, found->second, a_.items(c).agree_with(b_.items(found->second))});
        places.erase(found);
      }
    }
    for (std::int64_t c = 0; c < b_.concepts(); ++c)
      if (places.contains(b_.corpus().name(c))) out["only_b"].push_back(b_.corpus().name(c));
    return common;
  }

  // Whether the concept is among those that means are over.
  bool counts(const Common& both) const {
    return both.paired && erasure::is_edited(a_.status(both.a)) &&
           erasure::is_edited(b_.status(both.b));
  }

  void add_concepts(const std::vector<Common>& common, json& out) const {
    const auto counted = std::ranges::count_if(common, [&](const auto& c) { return counts(c); });
    const auto attacked = std::ranges::count_if(
        common, [&](const auto& c) { return are_attacked(c) && is_same_record(c); });
    Means means(counted, resamples_, a_.has_general()), means_back(attacked, resamples_, true);
    out["concepts"] = json::array();
    for (const auto& both : common) {
      auto item = describe(both);
      item["figures"] = both.paired
                            ? paired(both, means)
                            : figures(Of::one_concept, a_.scores(both.a), b_.scores(both.b));
      if (are_attacked(both)) item["figures"][relearned] = came_back(both, means_back);
      out["concepts"].push_back(std::move(item));
    }
    out["overall"] = {{"concepts", counted}, {"figures", overall(counted, means)}};
    out["overall"]["not_resampled"] = not_resampled(out["overall"]["figures"]);
    if (std::ranges::any_of(common, [&](const auto& c) { return are_attacked(c); }))
      out["overall"]["figures"][relearned] = overall_back(attacked, means_back);
    count_moved(out);
  }

  json describe(const Common& both) const {
    return {{"concept", a_.corpus().name(both.a)},
            {"same_record", is_same_record(both)},
            {"status", {a_.status(both.a), b_.status(both.b)}},
            {"strength", {a_.strength(both.a), b_.strength(both.b)}},
            {"tokens", {a_.tokens(both.a), b_.tokens(both.b)}}};
  }

  // `paired`: the differences of all figures; empty: unpaired ones.
  json figures(Of of, const evaluation::Scores& a, const evaluation::Scores& b,
               const std::vector<Difference>& paired = {}) const {
    json named = json::object();
    for (const auto& name : compared_figures()) {
      if (name == relearned) continue;  // of other models
      const auto f = figure_index(name);
      if (std::isnan(a.figures[f].value) && std::isnan(b.figures[f].value)) continue;
      std::optional<Difference> d;
      const bool is_paired = !paired.empty() && (of == Of::means || has_items(name));
      if ((of == Of::means || is_of_a_concept(name)) && is_comparable(name))
        d = is_paired ? paired[f] : evaluation::unpaired_difference(a.figures[f], b.figures[f]);
      // Where resamples draw concepts alone, these are what must not be too few.
      const bool few_do = of == Of::means && (has_items(name) || !is_paired);
      named[name] =
          side_by_side(of, a.figures[f], b.figures[f], d, is_paired, few_do ? 1 : fewest_items);
    }
    return named;
  }

  bool is_comparable(const std::string& figure) const {
    return (same_rules_ || !by_rules(figure)) && (same_answers_ || !by_answers(figure));
  }

  // Whether all items that the figure is of are stored.
  bool has_items(const std::string& figure) const {
    return a_.has_general() || !has_shared_items(figure);
  }

  // Whether each concept has its own: of edits alone, also what they do to general questions is.
  bool is_of_a_concept(const std::string& figure) const {
    return erased_ == Erased::alone || !is_of_the_run(figure);
  }

  json paired(const Common& both, Means& means) const {
    const auto purpose = "diff/" + a_.corpus().hash(both.a);
    const ConceptFigures a(a_, both.a, purpose), b(b_, both.b, purpose);
    if (counts(both)) means.add(a, b);
    return figures(Of::one_concept, a_.scores(both.a), b_.scores(both.b),
                   evaluation::paired_difference(a.sample(), b.sample(), resamples_));
  }

  // Over the concepts that are edited and asked the same in both; else of each run's own.
  json overall(std::int64_t counted, const Means& means) const {
    if (counted == 0) return figures(Of::means, a_.mean(), b_.mean());
    return figures(Of::means, means.a(), means.b(), means.difference());
  }

  // Figures whose paired difference is of resampled concepts, but of general items as they are.
  json not_resampled(const json& figures) const {
    json names = json::array();
    for (const auto& name : compared_figures())
      if (!has_items(name) && figures.contains(name) && figures[name].value("paired", false))
        names.push_back(name);
    return names;
  }

  bool is_same_record(const Common& both) const {
    return a_.corpus().hash(both.a) == b_.corpus().hash(both.b);
  }

  // Whether it can be told in both runs what is back of the concept.
  bool are_attacked(const Common& both) const {
    const auto is_there = [](const EvaluatedRun& run, std::int64_t c) {
      return run.attacks() != nullptr && run.attacks()->back().contains(c);
    };
    return is_there(a_, both.a) && is_there(b_, both.b);
  }

  // Of one record the questions of an attack are the same, whatever the shared ones.
  json came_back(const Common& both, Means& means) const {
    const auto &in_a = a_.attacks()->back().at(both.a), &in_b = b_.attacks()->back().at(both.b);
    auto d = evaluation::unpaired_difference(in_a.left, in_b.left);
    if (is_same_record(both)) {
      const auto purpose = "diff/" + a_.corpus().hash(both.a);
      const auto a = a_.attacks()->sample(both.a, purpose),
                 b = b_.attacks()->sample(both.b, purpose);
      means.add(a, b);
      d = evaluation::paired_difference(a, b, resamples_)[figure_index("own_left")];
    }
    auto figure = by_same_rules(Of::one_concept, in_a.left, in_b.left, d, is_same_record(both));
    figure["seeds"] = {in_a.seeds, in_b.seeds};
    return figure;
  }

  // Over the concepts of one record that both attacked; without any, each run's own mean.
  json overall_back(std::int64_t attacked, const Means& means) const {
    if (attacked == 0) {
      const auto &a = a_.attacks()->mean(), &b = b_.attacks()->mean();
      return by_same_rules(Of::means, a, b, evaluation::unpaired_difference(a, b), false);
    }
    const auto f = figure_index("own_left");
    return by_same_rules(Of::means, means.a().figures[f], means.b().figures[f],
                         means.difference()[f], true);
  }

  // Side by side, and compared where what is left is measured alike.
  json by_same_rules(Of of, const Estimate& a, const Estimate& b, const Difference& d,
                     bool paired) const {
    return side_by_side(of, a, b, same_rules_ ? std::optional(d) : std::nullopt, paired,
                        of == Of::means ? 1 : fewest_items);
  }

  static void count_moved(json& out) {
    std::int64_t compared = 0, moved = 0;
    for (const auto& item : out["concepts"])
      for (const auto& figure : item["figures"]) {
        compared += figure.contains("moved") ? 1 : 0;
        moved += figure.value("moved", false) ? 1 : 0;
      }
    out["compared"] = compared;
    out["moved"] = moved;
  }

  Erased erased_;
  EvaluatedRun a_, b_;
  std::int64_t resamples_;
  bool same_rules_, same_answers_;
};

}  // namespace

const std::vector<std::string>& compared_figures() {
  static const auto names = make_compared_figures();
  return names;
}

json compare_runs(const SavedRun& a, const SavedRun& b, Erased erased, std::int64_t resamples) {
  Problems problems;
  for (const auto* run : {&a, &b}) EvaluatedRun::require(*run, erased, problems);
  problems.throw_if_any<DataError>("the runs cannot be compared:");
  return Comparison(a, b, erased, resamples).all();
}

}  // namespace quench::pipeline
