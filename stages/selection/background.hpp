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

// The z-score of one token that `own_count` of the concept's sentences hold, against `whole`
// without `excluded` (the concept's own sentences and those of its group, all of them part of
// `whole`). `standard` > 0: as if the background had so many sentences and held the token in the
// same share of them, so that scores of catalogs of different size mean the same; 0: of its own
// number.
double z_score(std::int32_t token, std::int64_t own_count, std::int64_t own_sentences,
               const Background& whole, const DocumentFrequencies& excluded, double standard);

// z-scores of `tokens` for the concept `own`, as above.
std::vector<double> z_scores(std::span<const std::int32_t> tokens, const DocumentFrequencies& own,
                             const Background& whole, const DocumentFrequencies& excluded,
                             double standard);

// Where each token occurs (methods 4.1).
std::vector<Label> labels_of(std::span<const std::int32_t> tokens, const DocumentFrequencies& own,
                             const DocumentFrequencies& neutral);

}  // namespace quench::selection
