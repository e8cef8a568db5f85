#include "stages/selection/statistics.hpp"

#include <algorithm>
#include <cmath>

namespace quench::selection {

namespace {

struct Mean {
  double sum = 0;
  std::int64_t count = 0;
  double value() const { return count == 0 ? 0 : sum / static_cast<double>(count); }
};

std::int64_t count_of(const std::vector<Label>& labels, Label wanted) {
  return std::count(labels.begin(), labels.end(), wanted);
}

}  // namespace

double log_odds_z(double own_count, double own_sentences, double background_count,
                  double background_sentences) {
  constexpr double prior = 0.5;
  const double own = own_count + prior;
  const double background = background_count + prior;
  const double log_odds = std::log(own / (own_sentences + 2 * prior)) -
                          std::log(background / (background_sentences + 2 * prior));
  return log_odds / std::sqrt(1 / own + 1 / background);
}

FeatureStatistics feature_statistics(const Factors& factors, const TokenEvidence& evidence,
                                     double own_z) {
  FeatureStatistics out;
  const auto own_tokens = count_of(evidence.labels, Label::own);
  const auto neutral_tokens = count_of(evidence.labels, Label::neutral);
  const auto kept = factors.per_feature();
  for (std::int64_t k = 0; k < factors.rank; ++k) {
    Mean own{0, own_tokens};
    Mean neutral{0, neutral_tokens};
    double total = 0;
    double weighted = 0;
    double distinctive = 0;
    for (auto i = k * kept; i < (k + 1) * kept; ++i) {
      const auto token = factors.rows[i];
      const double weight = std::abs(factors.coefficients[i]);
      const auto label = evidence.labels[token];
      if (label == Label::unseen) continue;
      const bool has_it = label == Label::own || label == Label::both;
      // The prior lifts what few sentences do not hold: absence never speaks for a concept.
      const double z = has_it ? evidence.z[token] : std::min(evidence.z[token], 0.0);
      total += weight;
      weighted += weight * std::clamp(z, -3.0, 6.0);
      if (z >= own_z) distinctive += weight;
      if (label == Label::own) own.sum += weight;
      if (label == Label::neutral) neutral.sum += weight;
    }
    out.contrast.push_back(total > 0 ? weighted / total : 0);
    out.own_share.push_back(total > 0 ? distinctive / total : 0);
    out.ratio.push_back(own.value() / (neutral.value() + 1e-8));
  }
  return out;
}

std::vector<std::int64_t> strongest_first(const Factors& factors, std::int64_t feature) {
  const auto kept = factors.per_feature();
  std::vector<std::int64_t> order;
  for (auto i = feature * kept; i < (feature + 1) * kept; ++i)
    if (factors.coefficients[i] != 0) order.push_back(i);
  std::ranges::stable_sort(order, [&](auto a, auto b) {
    return std::abs(factors.coefficients[a]) > std::abs(factors.coefficients[b]);
  });
  return order;
}

namespace {

std::vector<std::int32_t> features_of_tokens(const Factors& factors,
                                             const std::vector<std::int32_t>& tokens) {
  std::vector<std::int32_t> features;
  for (std::int64_t k = 0; k < factors.rank; ++k) {
    const auto places = strongest_first(factors, k);
    const bool meets = std::ranges::any_of(places, [&](auto place) {
      return std::ranges::binary_search(tokens, factors.tokens[factors.rows[place]]);
    });
    if (meets) features.push_back(static_cast<std::int32_t>(k));
  }
  return features;
}

std::vector<std::int32_t> features_by_figure(const FeatureStatistics& statistics,
                                             const Options& options, bool& fallback) {
  const bool by_ratio = options.method == "ratio";
  const auto& figures = by_ratio ? statistics.ratio : statistics.contrast;
  const double least = by_ratio ? options.ratio : options.contrast;
  std::vector<std::int32_t> all, passed;
  for (std::size_t k = 0; k < figures.size(); ++k) {
    all.push_back(static_cast<std::int32_t>(k));
    if (figures[k] >= least) passed.push_back(static_cast<std::int32_t>(k));
  }
  fallback = by_ratio && options.ratio_fallback && passed.empty() && !all.empty();
  return fallback ? all : passed;
}

bool decided_elsewhere(const Options& options) {
  return options.method == "manual" || options.method == "judge";
}

void choose_features(const Factors& factors, const FeatureStatistics& statistics,
                     const Options& options, const Decision& decision, Choice& choice) {
  if (decision.features)
    choice.selected.features = *decision.features;
  else if (decision.tokens)
    choice.selected.features = features_of_tokens(factors, *decision.tokens);
  else if (!decided_elsewhere(options))
    choice.selected.features = features_by_figure(statistics, options, choice.fallback);
  // A factorisation that failed has no features, whatever a file names.
  std::erase_if(choice.selected.features, [&](auto k) { return k >= factors.rank; });
}

}  // namespace

Choice choose(const Factors& factors, const TokenEvidence& evidence,
              const FeatureStatistics& statistics, const Options& options,
              const Decision& decision) {
  Choice out;
  choose_features(factors, statistics, options, decision, out);
  std::vector<bool> active(factors.tokens.size(), false);
  for (const auto k : out.selected.features)
    for (const auto place : strongest_first(factors, k)) active[factors.rows[place]] = true;
  const auto may_be_edited = [&](std::size_t i) {
    if (decision.tokens) return std::ranges::binary_search(*decision.tokens, factors.tokens[i]);
    return evidence.eligible()[i] == Label::own &&
           (options.method != "contrast" || evidence.z[i] >= options.token_z);
  };
  for (std::size_t i = 0; i < factors.tokens.size(); ++i) {
    if (!may_be_edited(i)) continue;
    ++out.candidates;
    if (!active[i]) continue;
    out.places.push_back(static_cast<std::int32_t>(i));
    out.selected.tokens.push_back(factors.tokens[i]);
  }
  return out;
}

}  // namespace quench::selection
