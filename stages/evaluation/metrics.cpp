#include "stages/evaluation/metrics.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <vector>

#include "cluster/random.hpp"

namespace quench::evaluation {

namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double chance = 0.25;  // four options

// One item of a set: up to three numbers of the base model and of the edited one.
struct Item {
  std::array<double, 3> base{}, now{};
};
using Items = std::vector<Item>;

// The items of one split, by what is computed from them.
struct Sets {
  struct Questions {
    Items choice;  // {right, margin}
    Items letter;  // {right}
    Items open;    // {right}
  };
  Questions own, similar, general;
  Items text, neutral;  // {negative log-probability, tokens}
  Items instructions;   // {negative log-probability, tokens, repetition}
};

Item item_of(const Pair& pair, const std::function<std::array<double, 3>(const Measurement&)>& f) {
  return {f(*pair.base), f(*pair.edited)};
}

void add_question(Sets::Questions& set, const Pair& pair) {
  const auto& probe = *pair.probe;
  switch (probe.kind) {
    case ProbeKind::choice:
      set.choice.push_back(item_of(pair, [&](const Measurement& m) {
        return std::array<double, 3>{share_right(probe, m), margin(probe, m), 0};
      }));
      break;
    case ProbeKind::letter:
      set.letter.push_back(item_of(pair, [&](const Measurement& m) {
        return std::array<double, 3>{share_right(probe, m), 0, 0};
      }));
      break;
    default:
      set.open.push_back(item_of(pair, [](const Measurement& m) {
        return std::array<double, 3>{m.values[0], 0, 0};
      }));
  }
}

Item numbers_of(const Pair& pair) {
  return item_of(pair, [](const Measurement& m) {
    std::array<double, 3> numbers{};
    std::copy_n(m.values.begin(), std::min<std::size_t>(3, m.values.size()), numbers.begin());
    return numbers;
  });
}

Sets sort_pairs(std::span<const Pair> pairs, Split split) {
  Sets sets;
  for (const auto& pair : pairs) {
    const auto& probe = *pair.probe;
    if (probe.split != split) continue;
    if (probe.kind == ProbeKind::instruction) {
      sets.instructions.push_back(numbers_of(pair));
    } else if (probe.kind == ProbeKind::text) {
      (probe.subset == Subset::own ? sets.text : sets.neutral).push_back(numbers_of(pair));
    } else {
      add_question(probe.subset == Subset::own       ? sets.own
                   : probe.subset == Subset::similar ? sets.similar
                                                     : sets.general,
                   pair);
    }
  }
  return sets;
}

// Which items a bootstrap resample holds: the identity, or draws with replacement keyed by
// (resample, set, place).
class Draw {
 public:
  Draw() = default;
  Draw(const cluster::KeyedRandom& random, std::uint64_t resample)
      : random_(&random), resample_(resample) {}

  Items apply(const Items& items, std::uint64_t set) const {
    if (random_ == nullptr) return items;
    Items drawn(items.size());
    for (std::size_t i = 0; i < items.size(); ++i) {
      const std::uint64_t place = (resample_ << 32) | (set << 24) | i;
      drawn[i] = items[random_->below(place, items.size())];
    }
    return drawn;
  }

  Sets apply(const Sets& sets) const {
    Sets drawn;
    std::uint64_t number = 0;
    const auto take = [&](Items& to, const Items& from) { to = apply(from, number++); };
    const auto take_questions = [&](Sets::Questions& to, const Sets::Questions& from) {
      take(to.choice, from.choice);
      take(to.letter, from.letter);
      take(to.open, from.open);
    };
    take_questions(drawn.own, sets.own);
    take_questions(drawn.similar, sets.similar);
    take_questions(drawn.general, sets.general);
    take(drawn.text, sets.text);
    take(drawn.neutral, sets.neutral);
    take(drawn.instructions, sets.instructions);
    return drawn;
  }

 private:
  const cluster::KeyedRandom* random_ = nullptr;
  std::uint64_t resample_ = 0;
};

using Side = std::array<double, 3> Item::*;

double sum(const Items& items, Side side, int number) {
  return std::accumulate(items.begin(), items.end(), 0.0, [&](double total, const Item& item) {
    return total + (item.*side)[number];
  });
}

double mean(const Items& items, Side side, int number) {
  return items.empty() ? nan : sum(items, side, number) / static_cast<double>(items.size());
}

double perplexity(const Items& items, Side side) {
  const double tokens = sum(items, side, 1);
  return tokens > 0 ? std::exp(sum(items, side, 0) / tokens) : nan;
}

double clip(double fraction) { return std::clamp(fraction, 0.0, 1.0); }

// What is left of the base model's figure: margin, or accuracy above chance. NaN where the base
// model has none.
double fraction_left(const Items& choice, Objective objective) {
  const int number = objective == Objective::accuracy ? 0 : 1;
  const double floor = objective == Objective::accuracy ? chance : 0;
  const double base = mean(choice, &Item::base, number) - floor;
  return base > 0 ? clip((mean(choice, &Item::now, number) - floor) / base) : nan;
}

double share_answered(const Items& instructions, Side side) {
  const auto answered =
      std::ranges::count_if(instructions, [&](const Item& item) { return (item.*side)[1] > 0; });
  return static_cast<double>(answered);
}

// Harmonic mean of what is left of fluency and of non-repetition. An answer that has become empty
// is lost to both.
double coherence_of(const Items& instructions) {
  if (instructions.empty()) return nan;
  const double answered = share_answered(instructions, &Item::now) /
                          std::max(1.0, share_answered(instructions, &Item::base));
  const double fluency = clip(answered) * clip(perplexity(instructions, &Item::base) /
                                               perplexity(instructions, &Item::now));
  const double varied =
      clip((1 - mean(instructions, &Item::now, 2)) / (1 - mean(instructions, &Item::base, 2)));
  const std::array<double, 2> both = {fluency, varied};
  return harmonic_mean(both);
}

Scores::Raw raw_of(const Sets::Questions& set, Side side) {
  Scores::Raw raw;
  raw.accuracy.value = mean(set.choice, side, 0);
  raw.margin.value = mean(set.choice, side, 1);
  raw.letter_accuracy.value = mean(set.letter, side, 0);
  raw.open_accuracy.value = mean(set.open, side, 0);
  return raw;
}

Scores compute(const Sets& sets, Objective objective) {
  Scores s;
  s.own_left.value = fraction_left(sets.own.choice, objective);
  s.similar_left.value = fraction_left(sets.similar.choice, objective);
  s.general_left.value = fraction_left(sets.general.choice, objective);
  s.efficacy.value = 1 - s.own_left.value;
  s.specificity.value = harmonic_mean(std::array{s.similar_left.value, s.general_left.value});
  s.coherence.value = coherence_of(sets.instructions);
  s.harmonic.value = harmonic_mean(std::array{s.efficacy.value, s.specificity.value});
  s.harmonic_all.value =
      sets.instructions.empty()
          ? s.harmonic.value
          : harmonic_mean(std::array{s.efficacy.value, s.specificity.value, s.coherence.value});
  s.base_own = raw_of(sets.own, &Item::base);
  s.own = raw_of(sets.own, &Item::now);
  s.base_similar = raw_of(sets.similar, &Item::base);
  s.similar = raw_of(sets.similar, &Item::now);
  s.base_general = raw_of(sets.general, &Item::base);
  s.general = raw_of(sets.general, &Item::now);
  s.base_text_perplexity.value = perplexity(sets.text, &Item::base);
  s.text_perplexity.value = perplexity(sets.text, &Item::now);
  s.base_neutral_perplexity.value = perplexity(sets.neutral, &Item::base);
  s.neutral_perplexity.value = perplexity(sets.neutral, &Item::now);
  return s;
}

std::vector<double> values_of(const Scores& scores) {
  std::vector<double> values;
  Scores::for_each(scores, [&](const auto&, const Estimate& e) { values.push_back(e.value); });
  return values;
}

// Sets the 95% percentile interval of every figure from its resampled values; without any, the
// figure itself.
void set_intervals(Scores& scores, const std::vector<std::vector<double>>& resampled) {
  std::size_t figure = 0;
  Scores::for_each(scores, [&](const auto&, Estimate& estimate) {
    std::vector<double> values;
    for (const auto& row : resampled) {
      if (!std::isnan(row[figure])) values.push_back(row[figure]);
    }
    ++figure;
    estimate.interval = {estimate.value, estimate.value};
    if (values.empty() || std::isnan(estimate.value)) return;
    std::ranges::sort(values);
    const auto at = [&](double share) {
      return values[static_cast<std::size_t>(share * static_cast<double>(values.size() - 1))];
    };
    estimate.interval = {at(0.025), at(0.975)};
  });
}

}  // namespace

double share_right(const Probe& probe, const Measurement& measurement) {
  const auto& values = measurement.values;
  const auto best = std::ranges::max(values);
  if (values[probe.correct] != best) return 0;
  return 1.0 / static_cast<double>(std::ranges::count(values, best));
}

double margin(const Probe& probe, const Measurement& measurement) {
  const auto& values = measurement.values;
  const double right = values[probe.correct];
  const double all = std::accumulate(values.begin(), values.end(), 0.0);
  return right - (all - right) / static_cast<double>(values.size() - 1);
}

Scores summarise(std::span<const Pair> pairs, Split split, Objective objective,
                 std::int64_t resamples, const std::string& purpose) {
  const Sets sets = sort_pairs(pairs, split);
  Scores scores = compute(sets, objective);
  const cluster::KeyedRandom random(0, "bootstrap/" + purpose);
  std::vector<std::vector<double>> resampled;
  for (std::int64_t b = 0; b < resamples; ++b) {
    const Draw draw(random, static_cast<std::uint64_t>(b));
    resampled.push_back(values_of(compute(draw.apply(sets), objective)));
  }
  set_intervals(scores, resampled);
  for (const auto& pair : pairs) {
    if (pair.probe->split != split) continue;
    ++(pair.edited->reused ? scores.reused : scores.measured);
  }
  return scores;
}

Estimate base_margin(std::span<const Pair> pairs, std::int64_t resamples,
                     const std::string& purpose) {
  Items items;
  for (const auto& pair : pairs) {
    if (pair.probe->kind != ProbeKind::choice || pair.probe->subset != Subset::own) continue;
    items.push_back({{margin(*pair.probe, *pair.base), 0, 0}, {}});
  }
  Estimate estimate;
  estimate.value = mean(items, &Item::base, 0);
  const cluster::KeyedRandom random(0, "bootstrap/base_margin/" + purpose);
  std::vector<double> means;
  for (std::int64_t b = 0; b < resamples; ++b) {
    means.push_back(
        mean(Draw(random, static_cast<std::uint64_t>(b)).apply(items, 0), &Item::base, 0));
  }
  std::ranges::sort(means);
  estimate.interval = {estimate.value, estimate.value};
  if (!means.empty() && !items.empty()) {
    const auto last = static_cast<double>(means.size() - 1);
    estimate.interval = {means[static_cast<std::size_t>(0.025 * last)],
                         means[static_cast<std::size_t>(0.975 * last)]};
  }
  return estimate;
}

Scores mean_over_concepts(std::span<const Scores> scores, std::int64_t resamples,
                          const std::string& purpose) {
  std::vector<std::vector<double>> rows;
  for (const auto& s : scores) rows.push_back(values_of(s));
  const auto column_means = [&](const auto& pick) {
    std::vector<double> means;
    const std::size_t figures = values_of(Scores{}).size();
    for (std::size_t figure = 0; figure < figures; ++figure) {
      double total = 0;
      std::int64_t count = 0;
      for (std::size_t i = 0; i < rows.size(); ++i) {
        const double value = rows[pick(i)][figure];
        if (std::isnan(value)) continue;
        total += value;
        ++count;
      }
      means.push_back(count == 0 ? nan : total / static_cast<double>(count));
    }
    return means;
  };
  Scores mean_scores;
  const auto means = column_means([](std::size_t i) { return i; });
  std::size_t figure = 0;
  Scores::for_each(mean_scores, [&](const auto&, Estimate& e) { e.value = means[figure++]; });
  const cluster::KeyedRandom random(0, "bootstrap/concepts/" + purpose);
  std::vector<std::vector<double>> resampled;
  for (std::int64_t b = 0; b < (rows.empty() ? 0 : resamples); ++b) {
    resampled.push_back(column_means([&](std::size_t i) {
      return random.below((static_cast<std::uint64_t>(b) << 32) | i, rows.size());
    }));
  }
  set_intervals(mean_scores, resampled);
  for (const auto& s : scores) {
    mean_scores.reused += s.reused;
    mean_scores.measured += s.measured;
  }
  return mean_scores;
}

double harmonic_mean(std::span<const double> values) {
  double inverse = 0;
  for (const double value : values) {
    if (!std::isfinite(value) || value <= 0) return 0;
    inverse += 1 / value;
  }
  return static_cast<double>(values.size()) / inverse;
}

}  // namespace quench::evaluation
