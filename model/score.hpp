#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace quench::model {

class Transformer;

// Token ids before a point, and alternatives that may follow it. One forward pass scores all
// alternatives (they share the context's work).
struct ScoreItem {
  std::vector<std::int32_t> context;                     // at least one token
  std::vector<std::vector<std::int32_t>> continuations;  // each at least one token
};
struct ContinuationScore {
  double logprob = 0;  // sum of the natural log-probabilities of its tokens
  std::int64_t tokens = 0;
  // With BatchOptions::first_choices: how many of its tokens are the likeliest at their place, and
  // how many of its last tokens are so without a gap.
  std::int64_t first_choices = 0, ending = 0;
  double mean() const { return tokens == 0 ? 0 : logprob / static_cast<double>(tokens); }
};

struct BatchOptions {
  std::int64_t max_tokens = 512;  // tokens of a batch, padding included
  bool first_choices = false;     // tell which tokens are the likeliest
  // Contexts that begin alike have that part computed once, where it is of this many tokens and
  // more.
  std::int64_t least_prefix = 16;
};

// result[i][k] scores continuation k of item i. Items of similar length share a batch; the result
// does not depend on it beyond rounding (measured: 1e-5 a token). Local. Throws InternalError for
// an empty context or continuation.
std::vector<std::vector<ContinuationScore>> score(const Transformer& model,
                                                  std::span<const ScoreItem> items,
                                                  const BatchOptions& options = {});

// True when no input token of the item (all but each continuation's last) is edited by the model's
// overlay: the item's scores are then the base model's (design: exact reuse).
bool reads_edited_row(const Transformer& model, const ScoreItem& item);

// Splits a text into an item whose scored tokens are all but the first (context: the first token).
ScoreItem text_item(std::span<const std::int32_t> tokens);

}  // namespace quench::model
