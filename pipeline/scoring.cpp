#include "pipeline/scoring.hpp"

#include <algorithm>

namespace quench::pipeline {

namespace {

std::vector<evaluation::Pair> pairs_of(std::span<const Probe> probes,
                                       std::span<const Measurement> base,
                                       std::span<const Measurement> now) {
  std::vector<evaluation::Pair> pairs(probes.size());
  for (std::size_t i = 0; i < probes.size(); ++i) pairs[i] = {&probes[i], &base[i], &now[i]};
  return pairs;
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
               const evaluation::Options& options)
    : corpus_(corpus),
      baseline_(baseline),
      meter_(meter),
      model_(model),
      objective_(evaluation::objective_of(options)),
      resamples_(options.resamples),
      shared_(
          load(corpus.shared_probes(), corpus.probe_offsets()[corpus.concepts()], Split::train)) {}

Scorer::Bank Scorer::load(std::vector<Probe> probes, std::int64_t first_id, Split split) const {
  const auto count = static_cast<std::int64_t>(probes.size());
  auto base = baseline_.read({first_id, first_id + count});
  Bank bank;
  for (std::int64_t i = 0; i < count; ++i) {
    if (probes[i].split != split) continue;
    bank.probes.push_back(std::move(probes[i]));
    bank.base.push_back(std::move(base[i]));
  }
  return bank;
}

const Scorer::Bank& Scorer::of_concept(std::int64_t concept_index) {
  if (own_concept_ != concept_index) {
    own_ =
        load(corpus_.probes(concept_index), corpus_.probe_offsets()[concept_index], Split::train);
    own_concept_ = concept_index;
  }
  return own_;
}

erasure::CellScores Scorer::score(const Bank& own, std::span<const Measurement> own_now,
                                  std::span<const Measurement> shared_now) const {
  auto pairs = pairs_of(own.probes, own.base, own_now);
  const auto shared = pairs_of(shared_.probes, shared_.base, shared_now);
  pairs.insert(pairs.end(), shared.begin(), shared.end());
  const auto scores = evaluation::summarise(pairs, Split::train, objective_, 0, "");
  return {.efficacy = scores.efficacy.value,
          .specificity = scores.specificity.value,
          .coherence = scores.coherence.value,
          .general_left = scores.general_left.value,
          .own_left = scores.own_left.value,
          .similar_left = scores.similar_left.value,
          .harmonic = scores.harmonic_all.value,
          .reused = scores.reused,
          .measured = scores.measured};
}

erasure::CellScores Scorer::alone(cluster::Communicator& group, std::int64_t concept_index,
                                  const model::RowDeltas& edit, double strength) {
  const auto& own = of_concept(concept_index);
  const auto edited = model_.edited(edit, strength);
  const auto own_now = meter_.measure(group, edited, own.probes, own.base);
  const auto shared_now = meter_.measure(group, edited, shared_.probes, shared_.base);
  return score(own, own_now, shared_now);
}

erasure::CellScores Scorer::joint(cluster::Communicator& group, std::int64_t concept_index,
                                  const model::RowDeltas& edit, double factor) {
  const auto& own = of_concept(concept_index);
  const auto edited = model_.edited(edit, factor);
  if (shared_factor_ != factor) {
    shared_joint_ = meter_.measure(group, edited, shared_.probes, shared_.base);
    shared_factor_ = factor;
  }
  return score(own, meter_.measure(group, edited, own.probes, own.base), shared_joint_);
}

std::vector<Probe> Scorer::attack_probes(std::int64_t concept_index) const {
  auto probes = corpus_.probes(concept_index);
  std::erase_if(probes, [](const Probe& probe) {
    return probe.split != Split::test || probe.kind != ProbeKind::choice;
  });
  return probes;
}

std::vector<Estimate> Scorer::attack_figures(std::int64_t concept_index,
                                             std::span<const Probe> probes,
                                             std::span<const Measurement> measured) const {
  const auto& offsets = corpus_.probe_offsets();
  const auto base = baseline_.read({offsets[concept_index], offsets[concept_index + 1]});
  std::vector<evaluation::Pair> pairs;
  for (std::size_t i = 0; i < probes.size(); ++i) {
    pairs.push_back({&probes[i], &base[probes[i].id - offsets[concept_index]], &measured[i]});
  }
  const auto scores = evaluation::summarise(pairs, Split::test, objective_, resamples_,
                                            "relearning/" + corpus_.hash(concept_index));
  return {scores.own.accuracy,   scores.own.margin, scores.similar.accuracy,
          scores.similar.margin, scores.own_left,   scores.similar_left};
}

}  // namespace quench::pipeline
