#pragma once

#include <cstdint>
#include <string>

#include "stages/options.hpp"

namespace quench::selection {

struct Options {
  std::string method = "contrast";    // contrast | ratio | manual | judge
  double contrast = 1.9;              // contrast: least contrast of a feature
  double token_z = 1.5;               // contrast, variants: least z-score of a token that is edited
  double own_z = 2.0;                 // z-score from which a token counts in a feature's own share
  double standard_background = 3000;  // z-scores are those of a background of so many sentences;
                                      // 0: of its own number, so that they grow with the catalog
  double ratio = 2.0;                 // ratio, judge: least ratio of mean |G|, concept over neutral
  bool ratio_fallback = false;    // ratio: no feature passed, take all (the published code does)
  bool string_roundtrip = false;  // tokens are matched by decoded strings (the published code does)
  double group_similarity = 0.8;  // concepts whose token profiles are this similar (cosine), or
                                  // that share a name or alias, leave each other's background
  bool refit = false;             // solve the coefficients of edited tokens again on their support
  bool variants = true;           // edit tokens that are a selected one but for case, space, plural
  double variant_cosine = 1;      // and neighbours in the embedding this near; 1: none
  std::string frequencies;        // word frequencies for a concept alone; empty: built-in English
  std::string manual;             // manual: file of features and tokens
  std::string judge_candidates = "ratio";  // judge: features asked about: ratio (those of
                                           // selection.ratio) | all
  std::int64_t judge_rounds = 1;           // judge: 1: both questions at once; 2: as the paper,
                                           // the second shows the answer to the first
  double judge_confidence = 0.85;          // judge: least confidence of a yes
};

void describe(Options& options, OptionTable& table);  // keys selection.*

}  // namespace quench::selection
