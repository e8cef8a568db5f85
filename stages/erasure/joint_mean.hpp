#pragma once

#include <span>
#include <vector>

#include "stages/erasure/erasure.hpp"

namespace quench::erasure {

// What a joint edit does to each of its concepts, as means over those that measure a figure, with
// intervals by hierarchical bootstrap: concepts are drawn with replacement, then the items of each
// drawn one. The draws of the concepts are the same for every mean over so many of them. Local.
class JointMean {
 public:
  explicit JointMean(std::int64_t concepts);

  // How often each resample draws the concept at a place: [resample].
  std::span<const std::int64_t> times(std::int64_t place) const { return times_[place]; }
  // The scores of the concept at a place; scores.draws[b] are means over times(place)[b] draws of
  // its items.
  void add(std::int64_t place, const CellScores& scores);
  // The means; n: concepts.
  CellScores finish() const;

 private:
  // Weighted sums of several figures; NaN is left out.
  struct Sums {
    std::vector<double> sum, weight;
    explicit Sums(std::size_t size) : sum(size), weight(size) {}
    void add(std::size_t at, double value, double times);
    double mean(std::size_t at) const { return sum[at] / weight[at]; }  // NaN without any
  };

  std::vector<std::vector<std::int64_t>> times_;  // [concept][resample]
  Sums plain_;                                    // columns of cell_figures()
  Sums resampled_;                                // [resample][told figure]
};

}  // namespace quench::erasure
