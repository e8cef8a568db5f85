#pragma once

#include <span>
#include <string>
#include <string_view>

namespace quench::tasks {

// True when an answer counts: an accepted form occurs in it as whole words, after folding case,
// punctuation, accents and digit grouping ("1,500" is "1500"). Articles do not count, but for an
// "a" at the end of an accepted form, which tells "Vitamin A" from "Vitamin C".
bool answer_matches(std::string_view answer, std::span<const std::string> accepted);

// ROUGE-L (Lin 2004) with the accepted form that it fits best: harmonic mean of the shares of the
// answer's and of the form's words, folded likewise, in their longest common subsequence.
double rouge_l(std::string_view answer, std::span<const std::string> accepted);

}  // namespace quench::tasks
