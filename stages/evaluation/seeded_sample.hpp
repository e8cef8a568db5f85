#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "stages/evaluation/metrics.hpp"

namespace quench::evaluation {

// The same items put to several models that were made alike but for a seed. Figures are means over
// the seeds. A resample draws items, the same for all seeds, then as many seeds as there are, with
// replacement: the interval speaks of other questions and of other seeds. Of one seed it is that
// seed's own. Local maths, no communication.
class SeededSample {
 public:
  // A sample a seed, one at least, all of the same items and made with one purpose. `purpose` keys
  // the random numbers by which seeds are drawn: of two of one purpose, the same places.
  SeededSample(std::vector<Sample> samples, const std::string& purpose);

  // As Sample has them. A seed whose figure is NaN is left out of the figure's mean, and of its
  // resamples.
  std::vector<double> figures() const;
  std::vector<double> resampled(std::int64_t draw, std::int64_t again = 0) const;
  std::vector<std::int64_t> counts() const;  // items, whatever the number of seeds
  Scores scores(std::int64_t resamples) const;

 private:
  // Of rows of figures by seed, each counted as often as told; not looked at where that is 0.
  std::vector<double> mean(const std::vector<std::vector<double>>& rows,
                           const std::vector<std::int64_t>& times) const;

  std::vector<Sample> samples_;
  std::string purpose_;
  std::vector<std::vector<double>> values_;  // figures by seed, of the items as they are
};

}  // namespace quench::evaluation
