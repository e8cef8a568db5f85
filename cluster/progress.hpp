#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>

namespace quench::cluster {

// Progress of one stage with rate and ETA, on standard error of rank 0 (others are silent):
// rewritten in place on a terminal, one line at a time otherwise (at most one every few seconds,
// first and last always).
class Progress {
 public:
  Progress(bool speaks, std::string label, std::int64_t total);
  ~Progress();  // prints what was held back, ends the line

  // done = tasks finished so far, by all ranks as far as known; thread-safe.
  void update(std::int64_t done);

 private:
  void print(std::int64_t done);
  bool speaks_;
  bool terminal_;
  std::string label_;
  std::int64_t total_;
  std::int64_t first_ = -1;
  std::int64_t last_ = -1;
  std::int64_t shown_ = -1;
  std::mutex mutex_;
  std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point printed_;
};

// "12 s", "3 min 20 s", "1 h 04 min".
std::string format_duration(double seconds);

}  // namespace quench::cluster
