#pragma once

#include <chrono>
#include <optional>

namespace quench::cluster {

// Set by SIGTERM, SIGUSR1, SIGUSR2 (handlers only set a flag), by SIGINT, or by a deadline.
class StopFlag {
 public:
  // Installs the handlers, once a process. SIGXFSZ is ignored, so that a file size limit is a
  // failed write.
  static void install_signal_handlers();
  // Raises the flag as a signal would.
  static void raise();
  // Forgets what was raised or signalled; for tests.
  static void clear();

  void set_deadline(std::chrono::steady_clock::time_point deadline) { deadline_ = deadline; }
  // True once the process was asked to stop or the deadline has passed. Local: ranks may disagree.
  bool requested() const;
  // The signal's name or "time limit", for messages; empty when nothing was requested.
  const char* reason() const;

 private:
  std::optional<std::chrono::steady_clock::time_point> deadline_;
};

}  // namespace quench::cluster
