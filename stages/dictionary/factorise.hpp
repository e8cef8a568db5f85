#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "stages/types.hpp"

// The sparse matrix factorisation of the method (methods 3.1). Local: nothing here communicates.
namespace quench::dictionary {

struct Options {
  std::int64_t rank = 100;  // features a concept (K)
  double density = 0.01;    // share of a feature's coefficients that is kept (rho)
  double ridge =
      1e-4;  // first try of lambda; raised tenfold, up to three times, when a system is singular
  std::string stop = "progress";  // progress | patience (the reference's rule)
  std::int64_t max_iterations = 20000;
  std::int64_t patience = 500;  // patience: iterations without an improvement above `tolerance`
  double tolerance = 1e-4;      // patience: absolute, of the objective
  std::int64_t window = 20;     // progress: iterations looked back
  double progress =
      1e-4;  // progress: least relative decrease of the best objective over the window
  std::int64_t seed = 42;
};

// How one factorisation ended.
struct Fit {
  Factors factors;
  std::vector<double> objective;  // ||A - F G^T||^2 by iteration
  double ridge = 0;               // lambda of the last system solved
  std::int64_t best_iteration = 0;
  std::string stop_reason;  // "progress", "patience", "max_iterations"
};

// The reference's sparse matrix factorisation (methods 3.1), from keyed normal numbers by global
// row. columns: A^T, [n, d] float32. float32 dense product, float64 K x K systems and sums. Local;
// uses ATen's intra-op threads. Throws DataError: no tokens, a number that is not finite (names the
// token), systems that stay singular.
Fit factorise(std::span<const float> columns, std::vector<std::int32_t> tokens, std::int64_t width,
              const Options& options, const std::string& purpose);

// Coefficients of a feature that winner-take-all keeps: max(1, ceil(density n)), at most n.
std::int64_t kept_per_feature(std::int64_t rows, double density);

// When the iteration ends, and which iteration is the best one.
class StopRule {
 public:
  explicit StopRule(const Options& options) : options_(options) {}

  // Takes the objective of the next iteration; true when it is the best so far (to be kept).
  bool improves(double objective);
  // Why to stop now ("progress", "patience", "max_iterations"); empty: go on.
  std::string reason() const;
  std::int64_t best_iteration() const { return best_iteration_; }

 private:
  bool window_has_stalled() const;

  const Options& options_;
  std::vector<double> best_;  // by iteration: the least objective so far
  std::int64_t best_iteration_ = 0;
};

}  // namespace quench::dictionary
