#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "cluster/session.hpp"
#include "cluster/stop.hpp"
#include "cluster/timers.hpp"

namespace quench::cluster {

// What every stage gets beside its inputs and options.
struct Context {
  Session& session;
  StopFlag& stop;
  Timers& timers;
  std::filesystem::path run_directory;  // stage files and journals/<stage>/r00000.jnl live here
  bool quiet = false;                   // no progress on standard error

  Communicator& world() { return session.world(); }
  bool is_root() { return session.world().rank() == 0; }
};

// One unit of work. `key` names the result: the hash of everything that decides it. `cost` is
// relative; longest first. `label` is what people call it, for messages; empty: its number.
struct Task {
  std::string key;
  double cost = 1;
  std::string label = {};
};

// The finished tasks of a stage, wherever they ran; payloads stay in the journals until read.
class TaskResults {
 public:
  std::int64_t size() const { return static_cast<std::int64_t>(entries_.size()); }
  // The payload of task i, as `work` returned it. Local; any rank may read any task. Throws
  // DataError on a damaged journal.
  std::string read(std::int64_t i) const;
  // The message of a task whose `work` threw a quench::Error or std::exception; empty for a good
  // one.
  std::string failure(std::int64_t i) const;
  std::int64_t failures() const;

 private:
  friend class TaskRun;
  struct Entry {
    std::filesystem::path journal;
    std::int64_t offset = 0;
    bool failed = false;
  };
  std::vector<Entry> entries_;
};

// Tasks that a group draws together, neighbours in cost: fewer than `size` where groups would be
// left without.
struct Bundles {
  std::int64_t size = 1;
  // Told of the tasks of a bundle before `work` is called on each. Throws on all ranks of the group
  // or on none, and then all of the stage ends.
  std::function<void(std::span<const std::int64_t>)> begin;
};

// Collective over the world. Runs every task once: those that a journal of an earlier start already
// holds are not run again (failed ones are), the others go to groups from a dynamic queue, longest
// first; `work(i, group)` is collective over the group and its leader's payload is journalled. A
// task that throws is recorded as failed; the others go on. A full disk or broken cluster makes all
// ranks throw together. Throws Stopped, on all ranks, when a stop was requested before everything
// was done. No collective over the world happens while tasks are drawn.
TaskResults run_tasks(Context& context, const std::string& stage, std::span<const Task> tasks,
                      const std::function<std::string(std::int64_t, Communicator&)>& work,
                      const Bundles& bundles = {});

// Removes the journals of a stage whose file is complete. Collective.
void remove_journals(Context& context, const std::string& stage);

}  // namespace quench::cluster
