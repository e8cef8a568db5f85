#include "stages/evaluation/concept_mean.hpp"

#include <cmath>
#include <limits>

#include "cluster/collectives.hpp"
#include "cluster/random.hpp"
#include "stages/evaluation/difference.hpp"

namespace quench::evaluation {

namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

double mean_of(double sum, double count) { return count == 0 ? nan : sum / count; }

}  // namespace

CountedConcepts::CountedConcepts(const std::vector<bool>& counts) {
  for (const bool one : counts) places.push_back(one ? total++ : -1);
}

void ConceptMean::Sums::add(std::size_t at, double value) {
  if (std::isnan(value)) return;
  sum[at] += value;
  count[at] += 1;
}

ConceptMean::ConceptMean(std::int64_t total, std::int64_t resamples, const std::string& purpose)
    : total_(total), resamples_(total > 0 ? resamples : 0) {
  const auto figures = figure_names().size();
  const auto rows = static_cast<std::size_t>(resamples_);
  plain_ = {std::vector<double>(figures), std::vector<double>(figures)};
  resampled_ = {std::vector<double>(rows * figures), std::vector<double>(rows * figures)};
  drawn_.resize(rows * static_cast<std::size_t>(total));
  const cluster::KeyedRandom random(0, "bootstrap/concepts/" + purpose);
  const auto bound = static_cast<std::uint64_t>(total);
  for (std::uint64_t b = 0; b < rows; ++b)
    for (std::uint64_t slot = 0; slot < bound; ++slot)
      ++drawn_[b * bound + random.below(b << 32 | slot, bound)];
}

void ConceptMean::add(std::int64_t place, std::span<const double> figures,
                      const Resampled& resampled) {
  for (std::size_t f = 0; f < figures.size(); ++f) plain_.add(f, figures[f]);
  for (std::int64_t b = 0; b < resamples_; ++b) {
    const auto times = drawn_[static_cast<std::size_t>(b * total_ + place)];
    for (std::int64_t again = 0; again < times; ++again) {
      const auto row = resampled(b, again);
      for (std::size_t f = 0; f < figures.size(); ++f)
        if (!std::isnan(figures[f]))  // what the mean leaves out, its resamples do
          resampled_.add(static_cast<std::size_t>(b) * figures.size() + f, row[f]);
    }
  }
}

void ConceptMean::add(std::int64_t place, const Sample& sample, const Scores& scores) {
  std::vector<double> figures;
  for (const auto& estimate : scores.figures) figures.push_back(estimate.value);
  add(place, figures, [&](auto draw, auto again) { return sample.resampled(draw, again); });
  reused_ += scores.reused;
  measured_ += scores.measured;
}

Scores ConceptMean::finish(cluster::Communicator& world, std::vector<double>* p) const {
  Sums plain = plain_, resampled = resampled_;
  for (auto* list : {&plain.sum, &plain.count, &resampled.sum, &resampled.count})
    cluster::all_reduce_sum(world, std::span(*list));
  Scores mean;
  const auto figures = figure_names().size();
  for (std::size_t f = 0; f < figures; ++f) {
    std::vector<double> values;
    for (std::int64_t b = 0; b < resamples_; ++b) {
      const auto at = static_cast<std::size_t>(b) * figures + f;
      values.push_back(mean_of(resampled.sum[at], resampled.count[at]));
    }
    if (p != nullptr) p->push_back(bootstrap_p(values));
    const double value = mean_of(plain.sum[f], plain.count[f]);
    mean.figures[f] = {value, percentile_interval(value, std::move(values)),
                       static_cast<std::int64_t>(plain.count[f])};
  }
  mean.reused = cluster::all_reduce_value(world, reused_, cluster::Op::sum);
  mean.measured = cluster::all_reduce_value(world, measured_, cluster::Op::sum);
  return mean;
}

}  // namespace quench::evaluation
