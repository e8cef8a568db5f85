#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "stages/dictionary/options.hpp"

namespace quench::dictionary {

// When the iteration ends, and which iteration is the best one. Local.
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

  Options options_;
  std::vector<double> best_;  // by iteration: the least objective so far
  std::int64_t best_iteration_ = 0;
};

}  // namespace quench::dictionary
