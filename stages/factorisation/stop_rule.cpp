#include "stages/factorisation/stop_rule.hpp"

#include <limits>

namespace quench {

void describe(StopOptions& options, OptionTable& table, const std::string& section) {
  table.add_choice(section + ".stop", options.stop,
                   "when to stop: relative progress over a window, or the reference's patience",
                   {"progress", "patience"});
  table.add(section + ".max_iterations", options.max_iterations, "iterations at most", {1, 1e9});
  table.add(section + ".patience", options.patience,
            "patience: iterations without an improvement above the tolerance", {1, 1e9});
  table.add(section + ".tolerance", options.tolerance,
            "patience: least improvement, absolute, of the objective", {0, 1e300});
  table.add(section + ".window", options.window, "progress: iterations looked back", {1, 1e9});
  table.add(section + ".progress", options.progress,
            "progress: least relative decrease of the best objective over the window", {0, 1});
}

bool StopRule::improves(double objective) {
  const double before = best_.empty() ? std::numeric_limits<double>::infinity() : best_.back();
  const bool better = objective < options_.goal(before);
  if (better) best_iteration_ = static_cast<std::int64_t>(best_.size());
  best_.push_back(better ? objective : before);
  return better;
}

bool StopRule::window_has_stalled() const {
  const auto done = static_cast<std::int64_t>(best_.size());
  if (done <= options_.window) return false;
  const double before = best_[done - 1 - options_.window];
  return before - best_.back() <= options_.progress * before;
}

std::string StopRule::reason() const {
  const auto done = static_cast<std::int64_t>(best_.size());
  if (options_.stop == "patience") {
    if (done - 1 - best_iteration_ >= options_.patience) return "patience";
  } else if (window_has_stalled()) {
    return "progress";
  }
  return done >= options_.max_iterations ? "max_iterations" : "";
}

}  // namespace quench
