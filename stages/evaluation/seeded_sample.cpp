#include "stages/evaluation/seeded_sample.hpp"

#include <cmath>
#include <limits>

#include "cluster/error.hpp"
#include "cluster/random.hpp"

namespace quench::evaluation {

SeededSample::SeededSample(std::vector<Sample> samples, const std::string& purpose)
    : samples_(std::move(samples)), purpose_("bootstrap/seeds/" + purpose) {
  if (samples_.empty()) throw InternalError("figures over seeds, of no seed");
  for (const auto& sample : samples_) values_.push_back(sample.figures());
}

std::vector<double> SeededSample::mean(const std::vector<std::vector<double>>& rows,
                                       const std::vector<std::int64_t>& times) const {
  std::vector<double> means;
  for (std::size_t f = 0; f < figure_names().size(); ++f) {
    double sum = 0, count = 0;
    for (std::size_t s = 0; s < rows.size(); ++s) {
      if (times[s] == 0 || std::isnan(values_[s][f]) || std::isnan(rows[s][f])) continue;
      sum += static_cast<double>(times[s]) * rows[s][f];
      count += static_cast<double>(times[s]);
    }
    means.push_back(count > 0 ? sum / count : std::numeric_limits<double>::quiet_NaN());
  }
  return means;
}

std::vector<double> SeededSample::figures() const {
  return mean(values_, std::vector<std::int64_t>(samples_.size(), 1));
}

std::vector<double> SeededSample::resampled(std::int64_t draw, std::int64_t again) const {
  const cluster::KeyedRandom random(
      0, again == 0 ? purpose_ : purpose_ + "/again/" + std::to_string(again));
  std::vector<std::int64_t> times(samples_.size());
  for (std::size_t slot = 0; slot < samples_.size(); ++slot)
    ++times[random.below(static_cast<std::uint64_t>(draw) << 32 | slot, samples_.size())];
  std::vector<std::vector<double>> rows(samples_.size());
  for (std::size_t s = 0; s < samples_.size(); ++s)
    if (times[s] > 0) rows[s] = samples_[s].resampled(draw, again);
  return mean(rows, times);
}

std::vector<std::int64_t> SeededSample::counts() const { return samples_.front().counts(); }

Scores SeededSample::scores(std::int64_t resamples) const {
  Scores scores;
  scores.figures = with_intervals(figures(), counts(), resamples,
                                  [&](std::int64_t draw) { return resampled(draw); });
  return scores;
}

}  // namespace quench::evaluation
