#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "stages/corpus/corpus.hpp"
#include "stages/evaluation/evaluation.hpp"
#include "stages/evaluation/seeded_sample.hpp"
#include "stages/relearning/relearning.hpp"

namespace quench::pipeline {

// Relearning's figures, relative to the base model: by the questions of the test split in the form
// that decides, by the rules of the evaluation. Keeps references.
class AttackScorer {
 public:
  AttackScorer(const corpus::Corpus& corpus, const evaluation::Measurements& baseline,
               const evaluation::Rules& rules)
      : corpus_(corpus), baseline_(baseline), rules_(rules) {}

  // The probes on which attacks on a concept are measured.
  std::vector<Probe> probes(std::int64_t concept_index) const;
  // What attacks on a concept said there, as a sample over seeds; at least one seed. Samples of the
  // same purpose draw items alike, and seeds too where they have the same ones.
  evaluation::SeededSample sample(const relearning::SeedsSaid& said,
                                  const std::string& purpose) const;
  // relearning::figure_names() with their intervals.
  std::vector<Estimate> figures(const relearning::SeedsSaid& said, std::int64_t resamples) const;
  // Their means over the attacked concepts (indices), of which this rank adds `mine`. Collective
  // over the world.
  std::vector<Estimate> mean(cluster::Communicator& world, std::span<const std::int64_t> attacked,
                             std::span<const relearning::SeedsSaid> mine,
                             std::int64_t resamples) const;

 private:
  evaluation::SeededSample own_sample(const relearning::SeedsSaid& said) const;

  const corpus::Corpus& corpus_;
  const evaluation::Measurements& baseline_;
  evaluation::Rules rules_;
};

}  // namespace quench::pipeline
