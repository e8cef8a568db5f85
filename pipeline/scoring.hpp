#pragma once

#include <array>
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

// Scores row edits against the base model: what erasure tunes against.
class Scorer {
 public:
  Scorer(const corpus::Corpus& corpus, const evaluation::Measurements& baseline,
         const evaluation::Meter& meter, const LoadedModel& model,
         const evaluation::Options& options, double min_general);

  // One concept's own edit, on the train split's questions of the form that decides, and on its
  // instructions: general, own, similar, instructions (methods 7.5), to the end or to the first
  // gate that fails (evaluation.early_stop; what is not measured is NaN then, harmonic 0, and there
  // are no draws). Collective over the group; the same on all its ranks.
  erasure::CellScores alone(cluster::Communicator& group, std::int64_t concept_index,
                            const model::RowDeltas& edit, double strength);
  // The joint edit, seen from one concept, with draws for a mean that has it times[b] times in
  // resample b. The shared probes are measured once a factor, not once a concept. Collective over
  // the group.
  erasure::CellScores joint(cluster::Communicator& group, std::int64_t concept_index,
                            const model::RowDeltas& edit, double factor,
                            std::span<const std::int64_t> times);

 private:
  // Train probes with the base model's word on them.
  struct Bank {
    std::vector<Probe> probes;
    std::vector<Measurement> base;
  };
  // In the order of measuring: general questions, own ones, similar ones, instructions.
  using Banks = std::array<Bank, 4>;
  void load(std::vector<Probe> probes, std::int64_t first_id, Banks& banks) const;
  void of_concept(std::int64_t concept_index);
  std::vector<Measurement> measure(cluster::Communicator& group, const model::Transformer& edited,
                                   std::size_t bank) const;
  // True where what is measured so far, `last` included, ends the cell.
  bool is_over(std::size_t last, const evaluation::Scores& so_far) const;
  // What is measured so far, of the concept scored last.
  evaluation::Sample sample_of(const std::array<std::vector<Measurement>, 4>& now) const;

  const corpus::Corpus& corpus_;
  const evaluation::Measurements& baseline_;
  const evaluation::Meter& meter_;
  const LoadedModel& model_;
  evaluation::Rules rules_;
  evaluation::Options options_;
  double min_general_;
  Banks banks_;                    // the shared ones, and those of the concept scored last
  std::int64_t own_concept_ = -1;  // that concept
  double shared_factor_ = -1;      // of shared_joint_
  std::array<std::vector<Measurement>, 4> shared_joint_;
};

}  // namespace quench::pipeline
