#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "cluster/communicator.hpp"
#include "stages/evaluation/metrics.hpp"

namespace quench::evaluation {

// Which concepts a mean is over.
struct CountedConcepts {
  explicit CountedConcepts(const std::vector<bool>& counts);  // of each concept: whether it counts
  std::vector<std::int64_t> places;  // among those that count, in order; -1: does not
  std::int64_t total = 0;
};

// The mean of every figure over concepts, with intervals by hierarchical bootstrap: concepts are
// drawn with replacement, then the items of each drawn one. Each rank adds its own concepts.
class ConceptMean {
 public:
  // total: concepts of all ranks; purpose keys the random numbers.
  ConceptMean(std::int64_t total, std::int64_t resamples, const std::string& purpose);

  // Figures of a resample, as Sample::resampled.
  using Resampled = std::function<std::vector<double>(std::int64_t draw, std::int64_t again)>;

  // The concept at `place` of the total; figures that are NaN are left out of their mean.
  void add(std::int64_t place, const Sample& sample, const Scores& scores);
  void add(std::int64_t place, std::span<const double> figures, const Resampled& resampled);
  // n of a figure: concepts that have it. p, where given: of each figure, that the mean is none
  // (bootstrap_p of the resampled means). Collective.
  Scores finish(cluster::Communicator& world, std::vector<double>* p = nullptr) const;

 private:
  struct Sums {
    std::vector<double> sum, count;
    void add(std::size_t at, double value);
  };
  std::int64_t total_, resamples_;
  std::vector<std::uint16_t> drawn_;  // [resample, place]: how often
  Sums plain_, resampled_;            // [figure], [resample, figure]
  std::int64_t reused_ = 0, measured_ = 0;
};

}  // namespace quench::evaluation
