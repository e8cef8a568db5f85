#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "stages/erasure/erasure.hpp"

// Factors, embedding rows and scores that can be reckoned by hand.
namespace quench::erasure::testing {

// Feature 0 is (1, 2) on the tokens 3 and 9, feature 1 is (10, 20) on 5 and 9.
inline Factors small_factors() {
  Factors factors;
  factors.tokens = {3, 5, 9};
  factors.width = factors.rank = 2;
  factors.features = {1, 2, 10, 20};
  factors.rows = {0, 2, 1, 2};
  factors.coefficients = {0.5f, -1, 2, 3};
  return factors;
}

// Rows of the embedding as stored: row t is (t, -t / 2).
inline Refit small_refit(bool selected, double ridge = 0) {
  static std::vector<float> embedding = [] {
    std::vector<float> rows;
    for (int t = 0; t < 32; ++t) {
      rows.push_back(static_cast<float>(t));
      rows.push_back(static_cast<float>(t) / -2);
    }
    return rows;
  }();
  return {selected, ridge,
          [](std::int32_t t) { return std::span<const float>(embedding).subspan(2 * t, 2); }};
}

inline CellScores scores_of(double harmonic, double general = 1, double coherence = 1) {
  CellScores scores;
  scores.harmonic = harmonic;
  scores.general_left = general;
  scores.coherence = coherence;
  scores.specificity = 1;
  return scores;
}

}  // namespace quench::erasure::testing
