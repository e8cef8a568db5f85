#include "stages/erasure/joint_mean.hpp"

#include <cmath>

#include "cluster/random.hpp"
#include "stages/erasure/search.hpp"
#include "stages/interval.hpp"

namespace quench::erasure {

void JointMean::Sums::add(std::size_t at, double value, double times) {
  if (times == 0 || std::isnan(value)) return;
  sum[at] += times * value;
  weight[at] += times;
}

JointMean::JointMean(std::int64_t concepts)
    : times_(static_cast<std::size_t>(concepts), std::vector<std::int64_t>(resamples)),
      plain_(cell_figures().size()),
      resampled_(resamples * told_figures) {
  const cluster::KeyedRandom random(0, "bootstrap/concepts/erasure");
  const auto bound = static_cast<std::uint64_t>(concepts);
  for (std::uint64_t b = 0; b < resamples; ++b)
    for (std::uint64_t slot = 0; slot < bound; ++slot)
      ++times_[random.below(b << 32 | slot, bound)][b];
}

void JointMean::add(std::int64_t place, const CellScores& scores) {
  const auto row = to_row(scores);
  for (std::size_t i = 0; i < row.size(); ++i) plain_.add(i, row[i], 1);
  const auto told = scores.told();
  for (std::size_t b = 0; b < scores.draws.size(); ++b)
    for (std::size_t f = 0; f < told_figures; ++f)
      if (!std::isnan(told[f]))  // what the mean leaves out, its resamples do
        resampled_.add(b * told_figures + f, scores.draws[b][f],
                       static_cast<double>(times_[place][b]));
}

CellScores JointMean::finish() const {
  std::vector<double> row;
  for (std::size_t i = 0; i < plain_.sum.size(); ++i) row.push_back(plain_.mean(i));
  auto mean = from_row(row);
  const auto told = mean.told();
  for (std::size_t f = 0; f < told_figures; ++f) {
    std::vector<double> values;
    for (std::size_t b = 0; b < resamples; ++b)
      values.push_back(resampled_.mean(b * told_figures + f));
    const auto interval = percentile_interval(told[f], std::move(values));
    const auto concepts = plain_.weight[columns_of_told * f];
    mean.spreads[f] = {interval.low, interval.high, static_cast<std::int64_t>(concepts)};
  }
  return mean;
}

}  // namespace quench::erasure
