#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cluster/communicator.hpp"
#include "model/transformer.hpp"
#include "model/weights.hpp"
#include "stages/corpus/corpus.hpp"
#include "stages/erasure/erasure.hpp"
#include "stages/evaluation/evaluation.hpp"

namespace quench::pipeline {

// The base model as every stage uses it. Must stay where it is while a Scorer or a stage holds it.
struct LoadedModel {
  const model::ModelConfig& config;
  const model::Weights& weights;
  model::Transformer base;

  // The base model with these rows subtracted at a strength.
  model::Transformer edited(const model::RowDeltas& deltas, double strength) const;
};

// Scores row edits against the base model: what erasure tunes against, and relearning's figures.
class Scorer {
 public:
  Scorer(const corpus::Corpus& corpus, const evaluation::Measurements& baseline,
         const evaluation::Meter& meter, const LoadedModel& model,
         const evaluation::Options& options);

  // One concept's own edit, on the train split. Collective over the group.
  erasure::CellScores alone(cluster::Communicator& group, std::int64_t concept_index,
                            const model::RowDeltas& edit, double strength);
  // The joint edit, seen from one concept. The shared probes are measured once a factor, not once a
  // concept. Collective over the group.
  erasure::CellScores joint(cluster::Communicator& group, std::int64_t concept_index,
                            const model::RowDeltas& edit, double factor);
  // Probes on which an attack is measured: choice probes of the test split.
  std::vector<Probe> attack_probes(std::int64_t concept_index) const;
  // {own accuracy, own margin, similar accuracy, similar margin, own_left, similar_left} of an
  // attacked model, each with its interval. Local.
  std::vector<Estimate> attack_figures(std::int64_t concept_index, std::span<const Probe> probes,
                                       std::span<const Measurement> measured) const;

 private:
  // Train probes of some owner with the base model's word on them.
  struct Bank {
    std::vector<Probe> probes;
    std::vector<Measurement> base;
  };
  Bank load(std::vector<Probe> probes, std::int64_t first_id, Split split) const;
  const Bank& of_concept(std::int64_t concept_index);
  erasure::CellScores score(const Bank& own, std::span<const Measurement> own_now,
                            std::span<const Measurement> shared_now) const;

  const corpus::Corpus& corpus_;
  const evaluation::Measurements& baseline_;
  const evaluation::Meter& meter_;
  const LoadedModel& model_;
  evaluation::Objective objective_;
  std::int64_t resamples_;
  Bank shared_;
  Bank own_;  // of the concept scored last
  std::int64_t own_concept_ = -1;
  double shared_factor_ = -1;  // of shared_joint_
  std::vector<Measurement> shared_joint_;
};

}  // namespace quench::pipeline
