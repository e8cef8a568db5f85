#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "cluster/collectives.hpp"
#include "cluster/error.hpp"
#include "communicator_conformance.hpp"

namespace quench::testing {
namespace {

using namespace cluster;

// Counters in shared memory, by which the ranks of the ticket tests see each other's progress.
class Board {
 public:
  explicit Board(Communicator& comm)
      : node_(comm.split_by_node()), memory_(node_->shared_memory(2 * sizeof(std::int64_t))) {}
  std::atomic_ref<std::int64_t> operator[](int i) {
    return std::atomic_ref(reinterpret_cast<std::int64_t*>(memory_->data())[i]);
  }
  void wait_for(int i, std::int64_t value) {
    while ((*this)[i].load() < value) std::this_thread::yield();
  }

 private:
  std::unique_ptr<Communicator> node_;
  std::unique_ptr<SharedMemory> memory_;
};

std::vector<std::int64_t> drawn_by_all(Communicator& comm, const std::vector<std::int64_t>& own) {
  auto all = all_gather(comm, std::span<const std::int64_t>(own)).values;
  std::ranges::sort(all);
  return all;
}

void draws_every_ticket_once(Communicator& comm) {
  for (const std::int64_t n : {0, 1, 2, 37}) {
    std::vector<std::int64_t> own, told;
    {
      auto tickets = comm.tickets(n, [&](std::int64_t handed_out) { told.push_back(handed_out); });
      while (const auto ticket = tickets->next()) own.push_back(*ticket);
      EXPECT_FALSE(tickets->next());
    }
    EXPECT_TRUE(std::ranges::is_sorted(own));
    EXPECT_EQ(drawn_by_all(comm, own), numbers<std::int64_t>(n, 0));
    EXPECT_EQ(told, numbers<std::int64_t>(comm.rank() == 0 ? n : 0, 1));
  }
}

// `slow` keeps its ticket until the others have drawn all the rest.
void draw_beside_slow_rank(Communicator& comm, int slow) {
  constexpr std::int64_t n = 25;
  enum { started, finished };
  Board board(comm);
  auto tickets = comm.tickets(n, nullptr);
  std::vector<std::int64_t> own;
  if (comm.rank() == slow) {
    own.push_back(tickets->next().value());
    board[started].store(1);
    if (comm.size() > 1) board.wait_for(finished, n - 1);
  }
  board.wait_for(started, 1);
  while (const auto ticket = tickets->next()) {
    own.push_back(*ticket);
    board[finished].fetch_add(1);
  }
  tickets.reset();
  EXPECT_EQ(drawn_by_all(comm, own), numbers<std::int64_t>(n, 0));
  if (comm.rank() == slow && comm.size() > 1) {
    EXPECT_EQ(own.size(), 1u);
  }
}

void slow_ranks_hold_nobody(Communicator& comm) {
  for (int slow = 0; slow < comm.size(); ++slow) draw_beside_slow_rank(comm, slow);
}

void anyone_closes_the_tickets(Communicator& comm) {
  for (int closer = 0; closer < comm.size(); ++closer) {
    auto tickets = comm.tickets(1000, nullptr);
    const bool before = tickets->next().has_value();
    comm.barrier();
    if (comm.rank() == closer) tickets->close();
    comm.barrier();
    const bool after = tickets->next().has_value();
    EXPECT_TRUE(before);
    EXPECT_FALSE(after);
  }
}

void ranks_leave_the_tickets_early(Communicator& comm) {
  for (int early = 0; early < comm.size(); ++early) {
    std::vector<std::int64_t> own;
    auto tickets = comm.tickets(20, nullptr);
    if (comm.rank() != early || comm.size() == 1)
      while (const auto ticket = tickets->next()) own.push_back(*ticket);
    tickets.reset();
    EXPECT_EQ(drawn_by_all(comm, own), numbers<std::int64_t>(20, 0)) << "early " << early;
  }
}

// The others go on without the rank that an exception called away; if it is rank 0, they get no
// more tickets from then on.
void ranks_throw_beside_tickets(Communicator& comm) {
  for (int thrower = 0; thrower < comm.size(); ++thrower) {
    Board board(comm);
    std::vector<std::int64_t> own;
    std::atomic<std::int64_t> told = 0;
    try {
      auto tickets = comm.tickets(30, [&](std::int64_t handed_out) { told = handed_out; });
      if (comm.rank() == thrower) throw DataError("called away");
      board.wait_for(0, 1);
      while (const auto ticket = tickets->next()) own.push_back(*ticket);
    } catch (const DataError&) {
      board[0].store(1);
    }
    comm.barrier();
    EXPECT_EQ(drawn_by_all(comm, own), numbers<std::int64_t>(thrower == 0 ? 0 : 30, 0));
    if (comm.rank() == 0) {
      EXPECT_EQ(told, thrower == 0 ? 0 : 30);
    }
  }
}

}  // namespace

std::vector<ConformanceCheck> ticket_checks() {
  return {
      {"DrawsEveryTicketOnce", draws_every_ticket_once},
      {"SlowRanksHoldNobody", slow_ranks_hold_nobody},
      {"AnyoneClosesTheTickets", anyone_closes_the_tickets},
      {"RanksLeaveTheTicketsEarly", ranks_leave_the_tickets_early},
      {"RanksThrowBesideTickets", ranks_throw_beside_tickets},
  };
}

}  // namespace quench::testing
