#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "stages/options.hpp"

namespace quench {

struct StopOptions {
  std::string stop = "progress";  // progress | patience (the reference's rule)
  std::int64_t max_iterations = 20000;
  std::int64_t patience = 500;  // patience: iterations without an improvement above `tolerance`
  double tolerance = 1e-4;      // patience: absolute, of the objective
  std::int64_t window = 20;     // progress: iterations looked back
  double progress =
      1e-4;  // progress: least relative decrease of the best objective over the window

  // What an objective must be below to be a better one. `progress`: by more than float32 rounding,
  // so that the best iteration of a plateau does not depend on the order of sums. A number, or one
  // a factorisation.
  template <typename Number>
  Number goal(const Number& best) const {
    constexpr double rounding = 1e-7;
    if (stop == "patience") return best - tolerance;
    return best * (1 - rounding);
  }
};

void describe(StopOptions& options, OptionTable& table, const std::string& section);

// When the iteration ends, and which iteration is the best one. Local.
class StopRule {
 public:
  explicit StopRule(const StopOptions& options) : options_(options) {}

  // Takes the objective of the next iteration; true when it is the best so far (to be kept).
  bool improves(double objective);
  // Why to stop now ("progress", "patience", "max_iterations"); empty: go on.
  std::string reason() const;
  std::int64_t best_iteration() const { return best_iteration_; }
  // By iteration: the least objective so far.
  const std::vector<double>& least() const { return best_; }
  // Iterations at most before it ends.
  std::int64_t left() const {
    return options_.max_iterations - static_cast<std::int64_t>(best_.size());
  }
  const StopOptions& options() const { return options_; }

 private:
  bool window_has_stalled() const;

  StopOptions options_;
  std::vector<double> best_;  // by iteration: the least objective so far
  std::int64_t best_iteration_ = 0;
};

}  // namespace quench
