#include "stages/evaluation/metrics.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "cluster/error.hpp"
#include "cluster/random.hpp"
#include "stages/evaluation/figures.hpp"

namespace quench::evaluation {

namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

double value_of(const tasks::Ratio& total, bool exponential) {
  if (!(total.whole > 0)) return nan;
  const double share = total.part / total.whole;
  return exponential ? std::exp(share) : share;
}

}  // namespace

Scores::Scores() : figures(figure_names().size(), Estimate{nan, {nan, nan}, 0}) {}

double harmonic_mean(std::span<const double> values) {
  double inverse = 0;
  for (const double value : values) {
    if (!std::isfinite(value) || value <= 0) return 0;
    inverse += 1 / value;
  }
  return static_cast<double>(values.size()) / inverse;
}

bool is_of_form(Form form, const Probe& probe) {
  switch (form) {
    case Form::choice:
      return probe.kind == ProbeKind::choice;
    case Form::letter:
      return probe.kind == ProbeKind::letter;
    default:
      return probe.kind == ProbeKind::open ||
             (probe.subset == Subset::general &&
              (probe.kind == ProbeKind::letter || probe.kind == ProbeKind::choice));
  }
}

std::vector<Estimate> with_intervals(
    const std::vector<double>& values, const std::vector<std::int64_t>& n, std::int64_t resamples,
    const std::function<std::vector<double>(std::int64_t draw)>& resampled) {
  std::vector<std::vector<double>> columns(values.size());
  for (std::int64_t draw = 0; draw < resamples; ++draw) {
    const auto row = resampled(draw);
    for (std::size_t f = 0; f < row.size(); ++f) columns[f].push_back(row[f]);
  }
  std::vector<Estimate> estimates;
  for (std::size_t f = 0; f < values.size(); ++f)
    estimates.push_back({values[f], percentile_interval(values[f], std::move(columns[f])), n[f]});
  return estimates;
}

Sample::Sample(std::span<const Pair> pairs, Split split, const Rules& rules,
               const std::string& purpose)
    : rules_(rules), purpose_("bootstrap/" + purpose), strata_(layout().strata.size()) {
  for (std::size_t s = 0; s < strata_.size(); ++s) strata_[s].width = layout().strata[s].width;
  for (const auto& pair : pairs) {
    const auto& probe = *pair.probe;
    if (probe.split != split) continue;
    ++(pair.edited->reused ? reused_ : measured_);
    auto& stratum = strata_[layout().stratum(probe.kind, probe.subset)];
    std::vector<tasks::Ratio> numbers(2 * stratum.width);
    const auto& task = tasks::task_of(probe.kind);
    const std::span<tasks::Ratio> both(numbers);
    task.read(probe, *pair.base, rules.reading, both.first(stratum.width));
    task.read(probe, *pair.edited, rules.reading, both.last(stratum.width));
    stratum.items.insert(stratum.items.end(), numbers.begin(), numbers.end());
  }
  parts_ = measured_parts(numbers_of(total_of_all()), rules_);
}

std::vector<tasks::Ratio> Sample::total(const Stratum& stratum,
                                        const std::vector<std::size_t>& picks) const {
  const std::size_t width = 2 * stratum.width;
  std::vector<tasks::Ratio> sums(width);
  for (const auto i : picks) {
    const auto* item = stratum.items.data() + i * width;
    for (std::size_t k = 0; k < width; ++k) {
      sums[k].part += item[k].part;
      sums[k].whole += item[k].whole;
    }
  }
  return sums;
}

Sample::Totals Sample::total_of_all() const {
  Totals totals;
  for (const auto& stratum : strata_) {
    std::vector<std::size_t> all(stratum.size());
    std::iota(all.begin(), all.end(), 0);
    totals.push_back(total(stratum, all));
  }
  return totals;
}

std::vector<double> Sample::figures() const { return figures_of(total_of_all()); }

std::vector<double> Sample::resampled(std::int64_t draw, std::int64_t again) const {
  const auto drawn = [&](const cluster::KeyedRandom& random, std::size_t s) {
    const auto size = strata_[s].size();
    std::vector<std::size_t> picks(size);
    const auto first = static_cast<std::uint64_t>(draw) << 32 | static_cast<std::uint64_t>(s) << 24;
    for (std::size_t i = 0; i < size; ++i) picks[i] = random.below(first | i, size);
    return total(strata_[s], picks);
  };
  const auto is_shared = [](std::size_t s) { return layout().strata[s].subset == Subset::general; };
  if (draw != shared_draw_) {
    const cluster::KeyedRandom general(0, "bootstrap/general");
    shared_.assign(strata_.size(), {});
    for (std::size_t s = 0; s < strata_.size(); ++s)
      if (is_shared(s)) shared_[s] = drawn(general, s);
    shared_draw_ = draw;
  }
  const cluster::KeyedRandom own(
      0, again == 0 ? purpose_ : purpose_ + "/again/" + std::to_string(again));
  Totals totals = shared_;
  for (std::size_t s = 0; s < strata_.size(); ++s)
    if (!is_shared(s)) totals[s] = drawn(own, s);
  return figures_of(totals);
}

std::vector<double> Sample::numbers_of(const Totals& totals) const {
  std::vector<double> values(figure_names().size(), nan);
  for (std::size_t s = 0; s < strata_.size(); ++s) {
    const auto& place = layout().strata[s];
    for (std::size_t k = 0; k < place.width; ++k) {
      values[place.base + k] = value_of(totals[s][k], place.exponential[k]);
      values[place.edited + k] = value_of(totals[s][place.width + k], place.exponential[k]);
    }
  }
  return values;
}

std::vector<double> Sample::figures_of(const Totals& totals) const {
  auto values = numbers_of(totals);
  add_composites(values, rules_, parts_);
  return values;
}

std::vector<std::int64_t> Sample::counts() const {
  std::vector<std::int64_t> counts(figure_names().size(), 0);
  for (std::size_t s = 0; s < strata_.size(); ++s) {
    const auto& place = layout().strata[s];
    // Of an item, the base model's totals, then the edited one's.
    const auto counted = [&](std::size_t at) {
      std::int64_t n = 0;
      for (std::size_t i = 0; i < strata_[s].size(); ++i)
        n += strata_[s].items[i * 2 * place.width + at].whole > 0 ? 1 : 0;
      return n;
    };
    for (std::size_t k = 0; k < place.width; ++k) {
      counts[place.base + k] = counted(k);
      counts[place.edited + k] = counted(place.width + k);
    }
  }
  add_composite_counts(counts, rules_, parts_);
  return counts;
}

Scores Sample::scores(std::int64_t resamples) const {
  Scores scores;
  scores.figures = with_intervals(figures(), counts(), resamples,
                                  [&](std::int64_t draw) { return resampled(draw); });
  scores.reused = reused_;
  scores.measured = measured_;
  return scores;
}

Scores summarise(std::span<const Pair> pairs, Split split, const Rules& rules,
                 std::int64_t resamples, const std::string& purpose) {
  return Sample(pairs, split, rules, purpose).scores(resamples);
}

Estimate base_margin(std::span<const Pair> pairs, std::int64_t resamples,
                     const std::string& purpose) {
  std::vector<double> margins;
  for (const auto& pair : pairs) {
    const auto& probe = *pair.probe;
    if (probe.kind == ProbeKind::choice && probe.subset == Subset::own)
      margins.push_back(tasks::margin(probe, *pair.base));
  }
  const auto n = static_cast<double>(margins.size());
  if (margins.empty()) return {nan, {nan, nan}, 0};
  const double mean = std::accumulate(margins.begin(), margins.end(), 0.0) / n;
  const cluster::KeyedRandom random(0, "bootstrap/base_margin/" + purpose);
  std::vector<double> means;
  for (std::int64_t b = 0; b < resamples; ++b) {
    double sum = 0;
    for (std::size_t i = 0; i < margins.size(); ++i)
      sum += margins[random.below(static_cast<std::uint64_t>(b) << 32 | i, margins.size())];
    means.push_back(sum / n);
  }
  return {mean, percentile_interval(mean, std::move(means)),
          static_cast<std::int64_t>(margins.size())};
}

}  // namespace quench::evaluation
