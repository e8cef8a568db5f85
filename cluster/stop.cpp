#include "cluster/stop.hpp"

#include <atomic>
#include <csignal>

namespace quench::cluster {

namespace {

constexpr int kProgram = -1;

// The first signal that asked to stop, kProgram for raise(), 0 for none.
std::atomic<int> asked_by{0};
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler may only touch these");

void ask(int by) {
  int none = 0;
  asked_by.compare_exchange_strong(none, by);
}

void install(int number, void (*handler)(int), int flags) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigemptyset(&action.sa_mask);
  sigaction(number, &action, nullptr);
}

}  // namespace

void StopFlag::install_signal_handlers() {
  for (const int number : {SIGTERM, SIGUSR1, SIGUSR2}) install(number, ask, SA_RESTART);
  // A second Ctrl-C ends the process.
  install(SIGINT, ask, static_cast<int>(SA_RESTART | SA_RESETHAND));
}

void StopFlag::raise() { ask(kProgram); }

void StopFlag::clear() { asked_by = 0; }

bool StopFlag::requested() const {
  return asked_by != 0 || (deadline_ && std::chrono::steady_clock::now() >= *deadline_);
}

const char* StopFlag::reason() const {
  switch (asked_by) {
    case SIGTERM:
      return "SIGTERM";
    case SIGUSR1:
      return "SIGUSR1";
    case SIGUSR2:
      return "SIGUSR2";
    case SIGINT:
      return "SIGINT";
    case kProgram:
      return "the program itself";
    default:
      return requested() ? "time limit" : "";
  }
}

}  // namespace quench::cluster
