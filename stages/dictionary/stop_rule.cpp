#include "stages/dictionary/stop_rule.hpp"

#include <limits>

namespace quench::dictionary {

bool StopRule::improves(double objective) {
  const double before = best_.empty() ? std::numeric_limits<double>::infinity() : best_.back();
  const double margin = options_.stop == "patience" ? options_.tolerance : 0;
  const bool better = objective < before - margin;
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

}  // namespace quench::dictionary
