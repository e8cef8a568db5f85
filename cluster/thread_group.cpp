#include "cluster/thread_group.hpp"

#include "cluster/error.hpp"

namespace quench::cluster {

void ThreadDomain::fail(std::exception_ptr failure) {
  change([&] {
    if (!failure_) failure_ = std::move(failure);
  });
}

std::exception_ptr ThreadDomain::failure() {
  const std::lock_guard lock(mutex_);
  return failure_;
}

void ThreadDomain::check_locked() const {
  if (failure_) throw ClusterError("another rank (thread) has failed");
}

void ThreadDomain::check() {
  const std::lock_guard lock(mutex_);
  check_locked();
}

void ThreadDomain::change(const std::function<void()>& action) {
  {
    const std::lock_guard lock(mutex_);
    action();
  }
  changed_.notify_all();
}

void ThreadDomain::change_unless_failed(const std::function<void()>& action) {
  change([&] {
    check_locked();
    action();
  });
}

bool ThreadDomain::wait_for(const std::function<bool()>& reached) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return reached() || failure_; });
  return reached();
}

void ThreadDomain::wait_surely_for(const std::function<bool()>& reached) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, reached);
}

// Returns the generation that ends when all have arrived.
std::int64_t ThreadGroup::count_arrival() {
  const auto current = generation_;
  if (++arrived_ == size()) {
    arrived_ = 0;
    ++generation_;
  }
  return current;
}

// Whether a failure comes before the last arrival is decided under the lock, so either all pass or
// all throw.
void ThreadGroup::meet() {
  std::int64_t current = 0;
  domain_->change_unless_failed([&] { current = count_arrival(); });
  if (!domain_->wait_for([&] { return generation_ > current; })) domain_->check();
}

void ThreadGroup::meet_surely() {
  std::int64_t current = 0;
  domain_->change([&] { current = count_arrival(); });
  domain_->wait_surely_for([&] { return generation_ > current; });
}

// Between the two meetings the ranks read each other's memory. Whoever passes the first one is sure
// to reach the second, because no user code runs between them; so the second one waits even when a
// rank of another group fails meanwhile, and nobody's buffer dies while it is read.
void ThreadGroup::exchange(int rank, ThreadSlot mine,
                           const std::function<void(std::span<const ThreadSlot>)>& work) {
  slots_[rank] = std::move(mine);
  meet();
  work(slots_);
  meet_surely();
  slots_[rank].shared.reset();
}

}  // namespace quench::cluster
