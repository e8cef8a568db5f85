#include "stages/evaluation/difference.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "cluster/random.hpp"
#include "stages/evaluation/metrics.hpp"
#include "stages/evaluation/seeded_sample.hpp"

namespace quench::evaluation {

namespace {

constexpr std::size_t most_enumerated = 14;  // differences whose 2^n signs are all tried

std::vector<double> differences_of(const PairedItems& items) {
  std::vector<double> differences;
  for (std::size_t i = 0; i < items.a.size(); ++i) {
    const double d = items.b[i] - items.a[i];
    if (!std::isnan(d)) differences.push_back(d);
  }
  return differences;
}

double sum_of(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

double mean_of(std::span<const double> values) {
  return sum_of(values) / static_cast<double>(values.size());
}

Difference nothing() {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  return {nan, {nan, nan}, 1, 0};
}

// The mean of as many draws as there are values.
double drawn_mean(std::span<const double> values, const cluster::KeyedRandom& random,
                  std::uint64_t key) {
  double sum = 0;
  for (std::size_t i = 0; i < values.size(); ++i)
    sum += values[random.below(key | i, values.size())];
  return sum / static_cast<double>(values.size());
}

// Of two samples, or of two with seeds.
template <typename Drawn>
std::vector<Difference> differences_of_figures(const Drawn& a, const Drawn& b,
                                               std::int64_t resamples) {
  const auto before = a.figures(), now = b.figures();
  const auto n_before = a.counts(), n_now = b.counts();
  std::vector<std::vector<double>> resampled(before.size());
  for (std::int64_t draw = 0; draw < resamples; ++draw) {
    const auto row_a = a.resampled(draw), row_b = b.resampled(draw);
    for (std::size_t f = 0; f < row_a.size(); ++f) resampled[f].push_back(row_b[f] - row_a[f]);
  }
  std::vector<Difference> all;
  for (std::size_t f = 0; f < before.size(); ++f) {
    const double value = now[f] - before[f], p = bootstrap_p(resampled[f]);
    all.push_back({value, percentile_interval(value, std::move(resampled[f])), p,
                   std::min(n_before[f], n_now[f])});
  }
  return all;
}

}  // namespace

// The share of sign patterns whose sum is as far from 0 as the observed one; `slack` for rounding.
double sign_flip_p(std::span<const double> d, std::int64_t resamples, const std::string& purpose) {
  const double observed = std::abs(sum_of(d));
  double magnitude = 0;
  for (const double x : d) magnitude += std::abs(x);
  const double slack = 1e-12 * magnitude;
  const auto is_as_far = [&](const auto& is_flipped) {
    double sum = 0;
    for (std::size_t i = 0; i < d.size(); ++i) sum += is_flipped(i) ? -d[i] : d[i];
    return std::abs(sum) >= observed - slack;
  };
  std::int64_t far = 0;
  if (d.size() <= most_enumerated) {
    const std::uint64_t patterns = std::uint64_t{1} << d.size();
    for (std::uint64_t pattern = 0; pattern < patterns; ++pattern)
      far += is_as_far([&](std::size_t i) { return (pattern >> i & 1U) != 0; }) ? 1 : 0;
    return static_cast<double>(far) / static_cast<double>(patterns);
  }
  const cluster::KeyedRandom random(0, "signs/" + purpose);
  for (std::int64_t r = 0; r < resamples; ++r)
    far += is_as_far([&](std::size_t i) {
      return (random.bits(static_cast<std::uint64_t>(r) << 32 | i) & 1U) != 0;
    })
               ? 1
               : 0;
  return static_cast<double>(far + 1) / static_cast<double>(resamples + 1);
}

double bootstrap_p(std::span<const double> resampled) {
  std::int64_t below = 1, above = 1, count = 1;  // the observed one
  for (const double x : resampled) {
    below += x <= 0 ? 1 : 0;
    above += x >= 0 ? 1 : 0;
    count += std::isnan(x) ? 0 : 1;
  }
  if (count == 1) return std::numeric_limits<double>::quiet_NaN();
  const auto smaller = static_cast<double>(std::min(below, above));
  return std::min(1.0, 2 * smaller / static_cast<double>(count));
}

Difference paired_difference(const PairedItems& items, std::int64_t resamples,
                             const std::string& purpose) {
  const auto d = differences_of(items);
  if (d.empty()) return nothing();
  const cluster::KeyedRandom random(0, "difference/" + purpose);
  std::vector<double> means;
  for (std::int64_t r = 0; r < resamples; ++r)
    means.push_back(drawn_mean(d, random, static_cast<std::uint64_t>(r) << 32));
  const double value = mean_of(d);
  return {value, percentile_interval(value, std::move(means)), sign_flip_p(d, resamples, purpose),
          std::ssize(d)};
}

Difference paired_difference(std::span<const PairedItems> concepts, std::int64_t resamples,
                             const std::string& purpose) {
  std::vector<std::vector<double>> all;
  std::vector<double> of_concept;
  for (const auto& items : concepts) {
    auto d = differences_of(items);
    if (d.empty()) continue;
    of_concept.push_back(mean_of(d));
    all.push_back(std::move(d));
  }
  if (all.empty()) return nothing();
  const cluster::KeyedRandom which(0, "difference/concepts/" + purpose);
  const cluster::KeyedRandom random(0, "difference/items/" + purpose);
  std::vector<double> means;
  for (std::int64_t r = 0; r < resamples; ++r) {
    double sum = 0;
    for (std::size_t slot = 0; slot < all.size(); ++slot) {
      const auto& drawn = all[which.below(static_cast<std::uint64_t>(r) << 32 | slot, all.size())];
      sum += drawn_mean(drawn, random, static_cast<std::uint64_t>(r) << 40 | slot << 20);
    }
    means.push_back(sum / static_cast<double>(all.size()));
  }
  const double value = mean_of(of_concept);
  return {value, percentile_interval(value, std::move(means)),
          sign_flip_p(of_concept, resamples, purpose), std::ssize(all)};
}

std::vector<Difference> paired_difference(const Sample& a, const Sample& b,
                                          std::int64_t resamples) {
  return differences_of_figures(a, b, resamples);
}

std::vector<Difference> paired_difference(const SeededSample& a, const SeededSample& b,
                                          std::int64_t resamples) {
  return differences_of_figures(a, b, resamples);
}

Difference unpaired_difference(const Estimate& a, const Estimate& b) {
  const double value = b.value - a.value;
  const double down = std::hypot(b.value - b.interval.low, a.interval.high - a.value);
  const double up = std::hypot(b.interval.high - b.value, a.value - a.interval.low);
  return {value,
          {value - down, value + up},
          std::numeric_limits<double>::quiet_NaN(),
          std::min(a.n, b.n)};
}

}  // namespace quench::evaluation
