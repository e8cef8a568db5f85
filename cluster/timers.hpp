#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

namespace quench::cluster {

class Communicator;

// Wall time by name, e.g. "stage/dictionary", "collective/all_reduce", "kernel/forward". One a
// rank, not shared by threads.
class Timers {
 public:
  void add(const std::string& name, double seconds);

  // Adds the time of its own life; to nobody without timers.
  class Scope {
   public:
    Scope(Timers* timers, std::string name);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Timers* timers_;
    std::string name_;
    std::chrono::steady_clock::time_point start_;
  };
  Scope scope(std::string name) { return {this, std::move(name)}; }

  struct Entry {
    double seconds = 0;
    std::int64_t calls = 0;
  };
  const std::map<std::string, Entry>& entries() const { return entries_; }

 private:
  std::map<std::string, Entry> entries_;
};

struct TimerSummary {
  std::string name;
  double min = 0, mean = 0, max = 0;  // seconds over ranks (a rank without the timer counts as 0)
  std::int64_t calls = 0;             // over all ranks
};
// Collective. Sorted by name, the same on all ranks.
std::vector<TimerSummary> summarise(Communicator& comm, const Timers& timers);

}  // namespace quench::cluster
