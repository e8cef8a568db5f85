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
      const double z = evidence.z[token];
      total += weight;
      weighted += weight * std::clamp(z, -3.0, 6.0);
      if (z >= own_z) distinctive += weight;
      if (evidence.labels[token] == Label::own) own.sum += weight;
      if (evidence.labels[token] == Label::neutral) neutral.sum += weight;
    }
    out.contrast.push_back(total > 0 ? weighted / total : 0);
    out.own_share.push_back(total > 0 ? distinctive / total : 0);
    out.ratio.push_back(own.value() / (neutral.value() + 1e-8));
  }
  return out;
}

Choice choose(const Factors& factors, const TokenEvidence& evidence,
              const FeatureStatistics& statistics, const Options& options) {
  const bool by_ratio = options.method == "ratio";
  const auto& figures = by_ratio ? statistics.ratio : statistics.contrast;
  const double least = by_ratio ? options.ratio : options.contrast;
  Choice out;
  out.fallback =
      by_ratio && !figures.empty() &&
      std::none_of(figures.begin(), figures.end(), [&](double figure) { return figure >= least; });
  const auto kept = factors.per_feature();
  std::vector<bool> active(factors.tokens.size(), false);
  for (std::int64_t k = 0; k < factors.rank; ++k) {
    if (!out.fallback && !(figures[k] >= least)) continue;
    out.selected.features.push_back(static_cast<std::int32_t>(k));
    for (auto i = k * kept; i < (k + 1) * kept; ++i)
      if (factors.coefficients[i] != 0) active[factors.rows[i]] = true;
  }
  for (std::size_t i = 0; i < factors.tokens.size(); ++i) {
    const bool candidate =
        evidence.labels[i] == Label::own && (by_ratio || evidence.z[i] >= options.token_z);
    out.candidates += candidate ? 1 : 0;
    if (!candidate || !active[i]) continue;
    out.places.push_back(static_cast<std::int32_t>(i));
    out.selected.tokens.push_back(factors.tokens[i]);
  }
  return out;
}

}  // namespace quench::selection
