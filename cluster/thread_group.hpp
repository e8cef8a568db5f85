#pragma once

// Inside cluster/ only: how threads that act as ranks meet.
#include <condition_variable>
#include <exception>
#include <mutex>

#include "cluster/communicator.hpp"

namespace quench::cluster {

// What all thread communicators of one run share, split ones included: a lock, and whether a rank
// has failed.
class ThreadDomain {
 public:
  // The first failure counts. Wakes everybody who waits.
  void fail(std::exception_ptr failure);
  std::exception_ptr failure();
  // Throws ClusterError once a rank has failed.
  void check();

  // Runs `action` under the lock and wakes those who wait.
  void change(const std::function<void()>& action);
  // The same, but throws ClusterError instead once a rank has failed.
  void change_unless_failed(const std::function<void()>& action);
  // Waits until `reached` (evaluated under the lock) or a failure; tells whether it was reached.
  bool wait_for(const std::function<bool()>& reached);
  // Waits for `reached` alone.
  void wait_surely_for(const std::function<bool()>& reached);

 private:
  void check_locked() const;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::exception_ptr failure_;
};

// What a rank shows to the others during a collective call.
struct ThreadSlot {
  Buffer buffer{};
  int color = 0;
  int key = 0;
  std::shared_ptr<void> shared{};
};

// The ranks of one communicator.
class ThreadGroup {
 public:
  ThreadGroup(std::shared_ptr<ThreadDomain> domain, int size)
      : domain_(std::move(domain)), slots_(size) {}

  int size() const { return static_cast<int>(slots_.size()); }
  const std::shared_ptr<ThreadDomain>& domain() const { return domain_; }

  // Shows `mine` to all, waits for all, runs `work` on everybody's slots (it must not throw), waits
  // for all. Throws ClusterError, before `work`, when a rank has failed.
  void exchange(int rank, ThreadSlot mine,
                const std::function<void(std::span<const ThreadSlot>)>& work);

 private:
  // Both return when all have arrived; the first one throws ClusterError when a rank has failed.
  void meet();
  void meet_surely();
  std::int64_t count_arrival();  // under the lock

  std::shared_ptr<ThreadDomain> domain_;
  std::vector<ThreadSlot> slots_;
  int arrived_ = 0;              // under the domain's lock, as the next one
  std::int64_t generation_ = 0;  // how often all have arrived
};

}  // namespace quench::cluster
