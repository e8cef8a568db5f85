#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

namespace quench::cluster {

// Notices a collective that the other ranks never enter: one of them hangs, and the job would use
// up its allocation in waiting. A thread that sleeps while nothing is watched for too long.
class Watchdog {
 public:
  // `bark` gets a sentence once, on the watchdog's thread, when a watched call has taken longer
  // than `limit`.
  Watchdog(std::chrono::duration<double> limit, std::function<void(const std::string&)> bark);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // Watches a call for as long as it lives; nothing without a watchdog. One at a time, by one
  // thread.
  class Scope {
   public:
    Scope(Watchdog* watchdog, const char* call);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Watchdog* watchdog_;
  };
  // Looks away for as long as it lives: the others are at work, and may be for hours.
  class Pause {
   public:
    explicit Pause(Watchdog* watchdog);
    ~Pause();
    Pause(const Pause&) = delete;
    Pause& operator=(const Pause&) = delete;

   private:
    Watchdog* watchdog_;
  };

 private:
  using Clock = std::chrono::steady_clock;
  void watch(const std::stop_token& stop);

  const std::chrono::duration<double> limit_;
  const std::function<void(const std::string&)> bark_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  const char* call_ = nullptr;  // null: nothing is watched
  Clock::time_point since_;
  int pauses_ = 0;
  std::jthread thread_;
};

}  // namespace quench::cluster
