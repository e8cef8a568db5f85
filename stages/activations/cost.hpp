#pragma once

#include <cstdint>

// What a factorisation costs one rank, before it is done; plans print it, runs check it.
namespace quench::activations {

struct FitShape {
  double positions = 0;    // of this rank
  double width = 0;        // of the MLP
  double model_width = 0;  // of the residual stream
  double rank = 0;         // K
  double density = 0;      // share of a feature's neurons that is kept
};

// Iterations that a fit usually takes under the rule `progress` (measured: 240 to 880).
constexpr double usual_iterations = 500;

// A G, F^T A of sparse F, and three products of K x K by G, an iteration.
constexpr double flops(const FitShape& s) {
  return 2 * s.positions * s.rank * (s.width * (1 + s.density) + 3 * s.rank);
}

// A, the residual stream and six matrices of G's size in float32; (A G)^T, F^T and its magnitudes
// in float64.
constexpr double resident_bytes(const FitShape& s) {
  return 4 * s.positions * (s.width + s.model_width + 6 * s.rank) + 24 * s.rank * s.width;
}

}  // namespace quench::activations
