#include "cluster/tickets.hpp"

#include <algorithm>

namespace quench::cluster {
namespace {

class LocalTickets final : public TicketCounter {
 public:
  LocalTickets(std::int64_t n, TicketObserver observer) : state_(n, std::move(observer)) {}
  std::optional<std::int64_t> next() override { return state_.take(); }
  void close() override { state_.close(); }

 private:
  TicketState state_;
};

class StridedTickets final : public TicketCounter {
 public:
  StridedTickets(int rank, int size, std::int64_t n, TicketObserver observer)
      : rank_(rank), size_(size), n_(n), observer_(std::move(observer)), next_(rank) {}

  std::optional<std::int64_t> next() override {
    if (next_ >= n_) return std::nullopt;
    const auto ticket = next_;
    next_ += size_;
    if (rank_ == 0 && observer_) observer_(std::min(next_, n_));
    return ticket;
  }
  void close() override { next_ = n_; }

 private:
  int rank_, size_;
  std::int64_t n_;
  TicketObserver observer_;
  std::int64_t next_;
};

}  // namespace

std::optional<std::int64_t> TicketState::take() {
  const std::lock_guard lock(mutex_);
  if (next_ >= n_) return std::nullopt;
  const auto ticket = next_++;
  if (observer_) observer_(next_);
  return ticket;
}

void TicketState::close() {
  const std::lock_guard lock(mutex_);
  n_ = next_;
}

void TicketState::forget_observer() {
  const std::lock_guard lock(mutex_);
  observer_ = nullptr;
}

std::unique_ptr<TicketCounter> make_local_tickets(std::int64_t n, TicketObserver observer) {
  return std::make_unique<LocalTickets>(n, std::move(observer));
}

std::unique_ptr<TicketCounter> make_strided_tickets(int rank, int size, std::int64_t n,
                                                    TicketObserver observer) {
  return std::make_unique<StridedTickets>(rank, size, n, std::move(observer));
}

}  // namespace quench::cluster
