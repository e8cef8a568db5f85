#include "pipeline/scoring.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace quench::pipeline {

namespace {

// The order of measuring.
enum BankOf : std::size_t { general, own, similar, instructions };
constexpr std::array<BankOf, 4> all_banks{general, own, similar, instructions};

erasure::CellScores to_cell(const evaluation::Scores& scores) {
  std::vector<double> figures;
  for (const auto& estimate : scores.figures) figures.push_back(estimate.value);
  const auto parts = evaluation::coherence_parts(figures);
  return {.efficacy = scores["efficacy"].value,
          .specificity = scores["specificity"].value,
          .coherence = scores["coherence"].value,
          .general_left = scores["general_left"].value,
          .own_left = scores["own_left"].value,
          .similar_left = scores["similar_left"].value,
          .harmonic = scores["harmonic_all"].value,
          .reused = scores.reused,
          .measured = scores.measured,
          .fluency = parts.fluency,
          .variety = parts.variety};
}

// The figures that a cell tells with an interval, as the evaluation calls them.
constexpr std::array<const char*, erasure::told_figures> told_names = {
    "efficacy", "specificity",  "coherence",   "general_left",
    "own_left", "similar_left", "harmonic_all"};

// In resample b the mean over times[b] draws of the concept's items; NaN where there are none.
std::vector<erasure::ToldFigures> draws_of(const evaluation::Sample& sample,
                                           std::span<const std::int64_t> times) {
  std::vector<erasure::ToldFigures> draws;
  for (std::int64_t draw = 0; draw < std::ssize(times); ++draw) {
    erasure::ToldFigures sum{}, count{};
    for (std::int64_t again = 0; again < times[draw]; ++again) {
      const auto figures = sample.resampled(draw, again);
      for (std::size_t f = 0; f < told_names.size(); ++f) {
        const double value = figures[evaluation::figure_index(told_names[f])];
        if (std::isnan(value)) continue;
        sum[f] += value;
        count[f] += 1;
      }
    }
    for (std::size_t f = 0; f < sum.size(); ++f) sum[f] /= count[f];
    draws.push_back(sum);
  }
  return draws;
}

// Intervals from the cell's draws; nothing of what it does not measure.
void add_spreads(const evaluation::Scores& scores, erasure::CellScores& cell) {
  const auto told = cell.told();
  for (std::size_t f = 0; f < told.size(); ++f) {
    if (std::isnan(told[f])) continue;
    std::vector<double> drawn;
    for (const auto& draw : cell.draws) drawn.push_back(draw[f]);
    const auto interval = percentile_interval(told[f], std::move(drawn));
    cell.spreads[f] = {interval.low, interval.high, scores[told_names[f]].n};
  }
}

// A concept's own cell. One that ended at a gate, `own` or before, has a harmonic mean of 0 and no
// draws: what was not measured must not look like a figure.
erasure::CellScores to_own_cell(const evaluation::Sample& sample, bool ended) {
  const auto scores = sample.scores(0);
  auto cell = to_cell(scores);
  if (ended)
    cell.specificity = cell.coherence = cell.fluency = cell.variety = cell.harmonic =
        std::numeric_limits<double>::quiet_NaN();
  cell.draws = draws_of(sample, std::vector<std::int64_t>(erasure::resamples, 1));
  add_spreads(scores, cell);
  if (!ended) return cell;
  cell.harmonic = 0;
  cell.draws.clear();
  return cell;
}

}  // namespace

model::Transformer LoadedModel::edited(const model::RowDeltas& deltas, double strength) const {
  if (strength == 0) return base;  // no row counts as edited, so that everything is reused
  return model::Transformer(
      config, weights,
      model::make_overlay(weights.embedding, config.stored_type, deltas, strength));
}

Scorer::Scorer(const corpus::Corpus& corpus, const evaluation::Measurements& baseline,
               const evaluation::Meter& meter, const LoadedModel& model,
               const evaluation::Options& options, double min_general)
    : corpus_(corpus),
      baseline_(baseline),
      meter_(meter),
      model_(model),
      rules_(evaluation::rules_of(options)),
      options_(options),
      min_general_(min_general) {
  load(corpus.shared_probes(), corpus.probe_offsets()[corpus.concepts()], banks_);
}

void Scorer::load(std::vector<Probe> probes, std::int64_t first_id, Banks& banks) const {
  const auto count = static_cast<std::int64_t>(probes.size());
  auto base = baseline_.read({first_id, first_id + count});
  for (std::int64_t i = 0; i < count; ++i) {
    auto& probe = probes[i];
    const bool instructs = probe.kind == ProbeKind::instruction;
    if (probe.split != Split::train) continue;
    if (!instructs && !evaluation::is_of_form(rules_.form, probe)) continue;
    auto& bank = banks[instructs                         ? instructions
                       : probe.subset == Subset::general ? general
                       : probe.subset == Subset::own     ? own
                                                         : similar];
    bank.probes.push_back(std::move(probe));
    bank.base.push_back(std::move(base[i]));
  }
}

void Scorer::of_concept(std::int64_t concept_index) {
  if (own_concept_ == concept_index) return;
  banks_[own] = banks_[similar] = {};
  load(corpus_.probes(concept_index), corpus_.probe_offsets()[concept_index], banks_);
  own_concept_ = concept_index;
}

std::vector<Measurement> Scorer::measure(cluster::Communicator& group,
                                         const model::Transformer& edited, std::size_t bank) const {
  return meter_.measure(group, edited, banks_[bank].probes, banks_[bank].base);
}

evaluation::Sample Scorer::sample_of(const std::array<std::vector<Measurement>, 4>& now) const {
  std::vector<evaluation::Pair> pairs;
  for (const auto bank : all_banks)
    for (std::size_t i = 0; i < now[bank].size(); ++i)
      pairs.push_back({&banks_[bank].probes[i], &banks_[bank].base[i], &now[bank][i]});
  return {pairs, Split::train, rules_, "strength/" + corpus_.hash(own_concept_)};
}

bool Scorer::is_over(std::size_t last, const evaluation::Scores& so_far) const {
  if (last == general) return options_.early_stop && so_far["general_left"].value < min_general_;
  return last == own && evaluation::stops_at(options_, so_far["own_left"].value);
}

erasure::CellScores Scorer::alone(cluster::Communicator& group, std::int64_t concept_index,
                                  const model::RowDeltas& edit, double strength) {
  of_concept(concept_index);
  const auto edited = model_.edited(edit, strength);
  std::array<std::vector<Measurement>, 4> now;
  for (const auto bank : all_banks) {
    now[bank] = measure(group, edited, bank);
    const auto so_far = sample_of(now);
    if (is_over(bank, so_far.scores(0))) return to_own_cell(so_far, true);
  }
  return to_own_cell(sample_of(now), false);
}

erasure::CellScores Scorer::joint(cluster::Communicator& group, std::int64_t concept_index,
                                  const model::RowDeltas& edit, double factor,
                                  std::span<const std::int64_t> times) {
  of_concept(concept_index);
  const auto edited = model_.edited(edit, factor);
  auto now = shared_joint_;
  if (shared_factor_ != factor) {
    for (const auto bank : {general, instructions}) now[bank] = measure(group, edited, bank);
    shared_joint_ = now;
    shared_factor_ = factor;
  }
  for (const auto bank : {own, similar}) now[bank] = measure(group, edited, bank);
  const auto sample = sample_of(now);
  auto cell = to_cell(sample.scores(0));
  cell.draws = draws_of(sample, times);
  return cell;
}

}  // namespace quench::pipeline
