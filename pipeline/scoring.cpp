#include "pipeline/scoring.hpp"

#include <algorithm>
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

// Resamples that a cell's standard error is of: known to a twentieth of itself.
constexpr std::int64_t draws = 200;

std::vector<double> draws_of(const evaluation::Sample& sample) {
  const auto harmonic = evaluation::figure_index("harmonic_all");
  std::vector<double> drawn;
  for (std::int64_t draw = 0; draw < draws; ++draw)
    drawn.push_back(sample.resampled(draw)[harmonic]);
  return drawn;
}

// A cell that ended at a gate, `own` or before: what was not measured must not look like a figure.
erasure::CellScores to_ended_cell(const evaluation::Scores& so_far) {
  auto cell = to_cell(so_far);
  cell.specificity = cell.coherence = cell.fluency = cell.variety =
      std::numeric_limits<double>::quiet_NaN();
  cell.harmonic = 0;
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

evaluation::Scores Scorer::summarise(const std::array<std::vector<Measurement>, 4>& now) const {
  return sample_of(now).scores(0);
}

bool Scorer::is_over(std::size_t last, const evaluation::Scores& so_far) const {
  if (!options_.early_stop) return false;
  if (last == general) return so_far["general_left"].value < min_general_;
  const bool stops = rules_.form == evaluation::Form::open || !options_.own_stop_open_only;
  return last == own && stops && so_far["own_left"].value > options_.max_own_left;
}

erasure::CellScores Scorer::alone(cluster::Communicator& group, std::int64_t concept_index,
                                  const model::RowDeltas& edit, double strength) {
  of_concept(concept_index);
  const auto edited = model_.edited(edit, strength);
  std::array<std::vector<Measurement>, 4> now;
  for (const auto bank : all_banks) {
    now[bank] = measure(group, edited, bank);
    const auto so_far = summarise(now);
    if (is_over(bank, so_far)) return to_ended_cell(so_far);
  }
  const auto sample = sample_of(now);
  auto cell = to_cell(sample.scores(0));
  cell.draws = draws_of(sample);
  return cell;
}

erasure::CellScores Scorer::joint(cluster::Communicator& group, std::int64_t concept_index,
                                  const model::RowDeltas& edit, double factor) {
  of_concept(concept_index);
  const auto edited = model_.edited(edit, factor);
  auto now = shared_joint_;
  if (shared_factor_ != factor) {
    for (const auto bank : {general, instructions}) now[bank] = measure(group, edited, bank);
    shared_joint_ = now;
    shared_factor_ = factor;
  }
  for (const auto bank : {own, similar}) now[bank] = measure(group, edited, bank);
  return to_cell(summarise(now));
}

}  // namespace quench::pipeline
