#include "cluster/timers.hpp"

#include <algorithm>
#include <sstream>
#include <utility>

#include "cluster/collectives.hpp"

namespace quench::cluster {

void Timers::add(const std::string& name, double seconds) {
  auto& entry = entries_[name];
  entry.seconds += seconds;
  ++entry.calls;
}

Timers::Scope::Scope(Timers* timers, std::string name)
    : timers_(timers), name_(std::move(name)), start_(std::chrono::steady_clock::now()) {}

Timers::Scope::~Scope() {
  if (timers_ == nullptr) return;
  timers_->add(name_,
               std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count());
}

namespace {

struct Packed {
  std::string names;  // each ended by a newline, in the entries' order
  std::vector<double> seconds;
  std::vector<std::int64_t> calls;
};

Packed pack(const Timers& timers) {
  Packed packed;
  for (const auto& [name, entry] : timers.entries()) {
    packed.names += name + '\n';
    packed.seconds.push_back(entry.seconds);
    packed.calls.push_back(entry.calls);
  }
  return packed;
}

}  // namespace

std::vector<TimerSummary> summarise(Communicator& comm, const Timers& timers) {
  const auto packed = pack(timers);
  const auto names = all_gather<char>(comm, packed.names);
  const auto seconds = all_gather<double>(comm, packed.seconds);
  const auto calls = all_gather<std::int64_t>(comm, packed.calls);

  struct Total {
    std::vector<double> seconds;  // of the ranks that have the timer
    std::int64_t calls = 0;
  };
  std::map<std::string, Total> totals;
  std::istringstream lines(std::string(names.values.begin(), names.values.end()));
  std::string name;
  for (std::size_t i = 0; std::getline(lines, name); ++i) {
    totals[name].seconds.push_back(seconds.values[i]);
    totals[name].calls += calls.values[i];
  }

  std::vector<TimerSummary> summaries;
  for (auto& [timer, total] : totals) {
    total.seconds.resize(static_cast<std::size_t>(comm.size()), 0.0);
    const auto [min, max] = std::minmax_element(total.seconds.begin(), total.seconds.end());
    double sum = 0;
    for (const double s : total.seconds) sum += s;
    summaries.push_back({timer, *min, sum / comm.size(), *max, total.calls});
  }
  return summaries;
}

}  // namespace quench::cluster
