#include "stages/dictionary/device_stop_rule.hpp"

#include <algorithm>
#include <limits>
#include <vector>

namespace quench::dictionary {

namespace {

// The last `length` of the least objectives of each rule; infinite before the first. [length, B].
at::Tensor last_of(std::span<const StopRule> rules, std::int64_t length) {
  std::vector<double> out;
  for (auto ago = length; ago > 0; --ago)
    for (const auto& rule : rules) {
      const auto iteration = std::ssize(rule.least()) - ago;
      out.push_back(iteration < 0 ? std::numeric_limits<double>::infinity()
                                  : rule.least()[iteration]);
    }
  return at::tensor(out, at::kDouble).view({length, std::ssize(rules)});
}

}  // namespace

DeviceStopRule::DeviceStopRule(std::span<const StopRule> rules, at::Device device)
    : options_(rules[0].options()) {
  std::vector<std::int64_t> done, best;
  for (const auto& rule : rules) {
    done.push_back(std::ssize(rule.least()));
    best.push_back(rule.best_iteration());
  }
  done_ = at::tensor(done, at::kLong).to(device);
  best_iteration_ = at::tensor(best, at::kLong).to(device);
  const auto length = std::min(options_.window, *std::ranges::max_element(done)) + 1;
  for (const auto& least : last_of(rules, length).to(device).unbind()) least_.push_back(least);
}

at::Tensor DeviceStopRule::improves(const at::Tensor& objective, const at::Tensor& going) {
  const auto before = least_.back();
  const auto better = (objective < options_.goal(before)) & going;
  least_.push_back(at::where(better, objective, before));
  if (std::ssize(least_) > options_.window + 1) least_.pop_front();
  best_iteration_ = at::where(better, done_, best_iteration_);
  done_ = done_ + 1;
  return better;
}

at::Tensor DeviceStopRule::stalled() const {
  if (options_.stop == "patience") return done_ - 1 - best_iteration_ >= options_.patience;
  if (std::ssize(least_) <= options_.window) return at::zeros_like(done_, at::kBool);
  const auto& before = least_.front();
  return at::isfinite(before) & (before - least_.back() <= before * options_.progress);
}

at::Tensor DeviceStopRule::ended() const { return stalled() | (done_ >= options_.max_iterations); }

void DeviceStopRule::narrow(const at::Tensor& places) {
  for (auto& least : least_) least = least.index_select(0, places);
  done_ = done_.index_select(0, places);
  best_iteration_ = best_iteration_.index_select(0, places);
}

}  // namespace quench::dictionary
