#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "stages/selection/statistics.hpp"
#include "stages/types.hpp"

// What a concept is compared with: the sentences of all other concepts and the neutral text
// (selection method notes). Local: nothing here communicates.
namespace quench::selection {

// Document frequencies by token id, over many bodies of sentences.
struct Background {
  std::vector<std::int64_t> counts;  // [vocab]
  std::int64_t sentences = 0;
};

// Throws DataError for an id outside of the vocabulary.
void add(Background& background, const DocumentFrequencies& frequencies);

// The counts of two bodies together.
DocumentFrequencies sum_of(const DocumentFrequencies& a, const DocumentFrequencies& b);

// Sentences that hold the token.
std::int64_t count_of(const DocumentFrequencies& frequencies, std::int32_t token);

// z-scores of `tokens` (ascending) for the concept `own` against `whole` without `excluded` (the
// concept's own sentences and those of its group, all of them part of `whole`).
std::vector<double> z_scores(std::span<const std::int32_t> tokens, const DocumentFrequencies& own,
                             const Background& whole, const DocumentFrequencies& excluded);

// Where each token occurs (methods 4.1).
std::vector<Label> labels_of(std::span<const std::int32_t> tokens, const DocumentFrequencies& own,
                             const DocumentFrequencies& neutral);

}  // namespace quench::selection
