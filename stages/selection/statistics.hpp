#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "stages/selection/options.hpp"
#include "stages/types.hpp"

// How a concept's features and tokens are judged. Local: nothing here communicates.
namespace quench::selection {

// One token of a concept's sentences against the background: z-score of the log-odds with a prior
// of 0.5 (selection method notes; after Monroe et al. 2008).
double log_odds_z(double own_count, double own_sentences, double background_count,
                  double background_sentences);

// Where a token occurs (methods 4.1): in the concept's sentences only, in the neutral text only, in
// both, or, when a dictionary is of more than the concept's tokens, in neither; in no text of the
// catalog at all, when it is of the vocabulary.
enum class Label : std::uint8_t { own, neutral, both, neither, unseen };

// What is known of the tokens of a Factors, in their order.
struct TokenEvidence {
  std::vector<double> z;
  std::vector<Label> labels;
  // Labels as the published code looks them up, by decoded strings (methods 5.1); empty: `labels`
  // say which tokens may be edited.
  std::vector<Label> labels_by_string = {};
  const std::vector<Label>& eligible() const {
    return labels_by_string.empty() ? labels : labels_by_string;
  }
};

struct FeatureStatistics {
  std::vector<double> contrast, own_share, ratio;  // [K]
};

// contrast: mean of z clamped to [-3, 6], weighted by |G|; own_share: share of |G| on tokens with
// z >= own_z (both selection method notes); ratio: mean |G| over tokens labelled own, over the mean
// of those labelled neutral + 1e-8 (methods 4.2). Tokens that no text holds say nothing of a
// feature and do not count. 0 for a feature without coefficients.
FeatureStatistics feature_statistics(const Factors& factors, const TokenEvidence& evidence,
                                     double own_z);

// The places (in Factors.rows and coefficients) of a feature's coefficients that are not 0, largest
// magnitude first, equals in the tokens' order.
std::vector<std::int64_t> strongest_first(const Factors& factors, std::int64_t feature);

// What a person or a judge decided.
struct Decision {
  std::optional<std::vector<std::int32_t>> features, tokens;  // ids, ascending
};

struct Choice {
  Selected selected;
  std::vector<std::int32_t> places;  // of the selected tokens, in Factors.tokens
  std::int64_t candidates = 0;       // tokens that the method allows, whatever their features
  bool fallback = false;             // ratio: no feature passed, so all are taken (methods 4.5)
};

// Features: those of `decision`; all with a coefficient for one of its tokens where it names tokens
// alone; else those of at least the method's contrast or ratio, none where it decides nothing.
// Tokens that may be edited: those of `decision`, else those labelled own (contrast: of them those
// with z >= token_z). A token is selected only with a coefficient in a selected feature.
Choice choose(const Factors& factors, const TokenEvidence& evidence,
              const FeatureStatistics& statistics, const Options& options,
              const Decision& decision = {});

}  // namespace quench::selection
