#include "cluster/watchdog.hpp"

#include <cstdio>

namespace quench::cluster {

Watchdog::Watchdog(std::chrono::duration<double> limit,
                   std::function<void(const std::string&)> bark)
    : limit_(limit),
      bark_(std::move(bark)),
      thread_([this](const std::stop_token& stop) { watch(stop); }) {}

Watchdog::~Watchdog() = default;  // the thread's own destructor stops and joins it

// Short calls wake nobody: the thread looks again when the call that it saw last would be late, and
// judges by the one that is under way then.
void Watchdog::watch(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    const auto now = Clock::now();
    const std::chrono::duration<double> waited = call_ ? now - since_ : Clock::duration::zero();
    if (waited > limit_) {
      char text[200];
      std::snprintf(text, sizeof text, "%s has waited %.0f s for the other ranks", call_,
                    waited.count());
      bark_(text);
      return;
    }
    changed_.wait_for(lock, stop, limit_ - waited + std::chrono::milliseconds(1),
                      [] { return false; });
  }
}

Watchdog::Scope::Scope(Watchdog* watchdog, const char* call) : watchdog_(watchdog) {
  if (watchdog_ == nullptr) return;
  const std::lock_guard lock(watchdog_->mutex_);
  if (watchdog_->pauses_ > 0) return;
  watchdog_->call_ = call;
  watchdog_->since_ = Clock::now();
}

Watchdog::Scope::~Scope() {
  if (watchdog_ == nullptr) return;
  const std::lock_guard lock(watchdog_->mutex_);
  watchdog_->call_ = nullptr;
}

Watchdog::Pause::Pause(Watchdog* watchdog) : watchdog_(watchdog) {
  if (watchdog_ == nullptr) return;
  const std::lock_guard lock(watchdog_->mutex_);
  ++watchdog_->pauses_;
}

Watchdog::Pause::~Pause() {
  if (watchdog_ == nullptr) return;
  const std::lock_guard lock(watchdog_->mutex_);
  --watchdog_->pauses_;
}

}  // namespace quench::cluster
