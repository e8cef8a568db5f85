#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "stages/types.hpp"

// How a concept's features and tokens are judged. Local: nothing here communicates.
namespace quench::selection {

struct Options {
  std::string method = "contrast";  // contrast | ratio
  double contrast = 1.9;            // contrast: least contrast of a feature
  double token_z = 1.5;             // contrast: least z-score of a token that may be edited
  double own_z = 2.0;  // contrast: z-score from which a token counts in a feature's own share
  double ratio = 2.0;  // ratio: least ratio of mean |G|, concept over neutral
  double group_similarity = 0.8;  // concepts whose token profiles are this similar (cosine), or
                                  // that share a name or alias, leave each other's background
};

// One token of a concept's sentences against the background: z-score of the log-odds with a prior
// of 0.5 (selection method notes; after Monroe et al. 2008).
double log_odds_z(double own_count, double own_sentences, double background_count,
                  double background_sentences);

// Where a token occurs (methods 4.1): in the concept's sentences only, in the neutral text only, in
// both, or, when a dictionary is of more than the concept's tokens, in neither.
enum class Label : std::uint8_t { own, neutral, both, neither };

// What is known of the tokens of a Factors, in their order.
struct TokenEvidence {
  std::vector<double> z;
  std::vector<Label> labels;
};

struct FeatureStatistics {
  std::vector<double> contrast, own_share, ratio;  // [K]
};

// contrast: mean of z clamped to [-3, 6], weighted by |G|; own_share: share of |G| on tokens with
// z >= own_z (both selection method notes); ratio: mean |G| over tokens labelled own, over the mean
// of those labelled neutral + 1e-8 (methods 4.2). 0 for a feature without coefficients.
FeatureStatistics feature_statistics(const Factors& factors, const TokenEvidence& evidence,
                                     double own_z);

struct Choice {
  Selected selected;
  std::vector<std::int32_t> places;  // of the selected tokens, in Factors.tokens
  std::int64_t candidates = 0;       // tokens that the method allows, whatever their features
  bool fallback = false;             // ratio: no feature passed, so all are taken (methods 4.5)
};

// contrast: features of at least that contrast; of the tokens labelled own those with z >= token_z.
// ratio: features of at least that ratio, all tokens labelled own. A token is selected only with a
// coefficient in a selected feature.
Choice choose(const Factors& factors, const TokenEvidence& evidence,
              const FeatureStatistics& statistics, const Options& options);

}  // namespace quench::selection
