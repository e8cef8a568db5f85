#include "stages/selection/options.hpp"

namespace quench::selection {

namespace {

void describe_rules(Options& options, OptionTable& table) {
  table.add_choice("selection.method", options.method,
                   "contrast with the other concepts, the reference's ratio, a file (manual), or a "
                   "language model (judge)",
                   {"contrast", "ratio", "manual", "judge"});
  table.add("selection.contrast", options.contrast, "contrast: least contrast of a feature",
            {-3, 6});
  table.add("selection.token_z", options.token_z,
            "contrast, variants: least z-score of a token that is edited", {-1e6, 1e6});
  table.add("selection.own_z", options.own_z,
            "z-score from which a token counts in a feature's own share", {-1e6, 1e6});
  table.add("selection.standard_background", options.standard_background,
            "z-scores are those of a background of so many sentences, whatever the catalog's size; "
            "0: of the background's own number",
            {0, 1e9});
  table.add("selection.ratio", options.ratio,
            "ratio, judge: least ratio of mean |G|, concept over neutral", {0, 1e12});
  table.add("selection.ratio_fallback", options.ratio_fallback,
            "ratio: take all features where none passes, as the published code does");
  table.add("selection.string_roundtrip", options.string_roundtrip,
            "match tokens by decoded strings, 200 a feature, as the published code does");
  table.add("selection.group_similarity", options.group_similarity,
            "concepts with token profiles this similar (cosine), or with a common name or alias, "
            "leave each other's background",
            {1e-6, 2});
}

}  // namespace

void describe(Options& options, OptionTable& table) {
  describe_rules(options, table);
  table.add("selection.refit", options.refit,
            "solve the coefficients of edited tokens again by least squares on their support");
  table.add("selection.variants", options.variants,
            "edit tokens that the sentences lack and that are a selected one but for case, leading "
            "space or plural");
  table.add("selection.variant_cosine", options.variant_cosine,
            "edit words that the sentences lack and whose embedding is this near (cosine) to a "
            "selected token's; 1: none",
            {0, 1});
  table.add("selection.frequencies", options.frequencies,
            "a concept without others to contrast with: file of word frequencies (docs/guide.md); "
            "empty: the built-in English ones");
  table.add("selection.manual", options.manual,
            "manual: JSON lines {\"concept\", \"features\", \"tokens\"} (docs/guide.md)");
  table.add_choice("selection.judge_candidates", options.judge_candidates,
                   "judge: features asked about, those of selection.ratio or all",
                   {"ratio", "all"});
  table.add("selection.judge_rounds", options.judge_rounds,
            "judge: 1: both questions about a feature at once, the second shows its tokens; 2: as "
            "the paper, the second shows what was answered to the first",
            {1, 2});
  table.add("selection.judge_confidence", options.judge_confidence,
            "judge: least confidence of a yes", {0, 1});
}

}  // namespace quench::selection
