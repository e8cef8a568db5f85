#pragma once

// Inside cluster/ only: what the ticket counters share.
#include <mutex>

#include "cluster/communicator.hpp"

namespace quench::cluster {

using TicketObserver = std::function<void(std::int64_t handed_out)>;

// The tickets 0 .. n-1 in one process; thread-safe. The observer is called in order, one call at a
// time.
class TicketState {
 public:
  TicketState(std::int64_t n, TicketObserver observer) : n_(n), observer_(std::move(observer)) {}

  std::optional<std::int64_t> take();
  void close();
  // Returns once no call of the observer is under way; there will be none.
  void forget_observer();

 private:
  std::mutex mutex_;
  std::int64_t n_;
  std::int64_t next_ = 0;
  TicketObserver observer_;
};

// A counter for one caller alone.
std::unique_ptr<TicketCounter> make_local_tickets(std::int64_t n, TicketObserver observer);

// Without communication: rank r draws r, r + size, r + 2 size, ... close() ends this rank's alone,
// and the observer of rank 0 is told an estimate (its own share times the size).
std::unique_ptr<TicketCounter> make_strided_tickets(int rank, int size, std::int64_t n,
                                                    TicketObserver observer);

}  // namespace quench::cluster
