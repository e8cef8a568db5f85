#include "cluster/tickets.hpp"

#include <gtest/gtest.h>

namespace quench::cluster {
namespace {

std::vector<std::int64_t> drawn(TicketCounter& tickets) {
  std::vector<std::int64_t> all;
  while (const auto ticket = tickets.next()) all.push_back(*ticket);
  return all;
}

// What serves where MPI does not let threads call it.
TEST(StridedTickets, DealOutEveryTicketOnce) {
  std::vector<std::int64_t> told;
  const auto note = [&](std::int64_t handed_out) { told.push_back(handed_out); };
  const auto first = make_strided_tickets(0, 3, 8, note);
  const auto second = make_strided_tickets(1, 3, 8, nullptr);
  const auto third = make_strided_tickets(2, 3, 8, nullptr);
  EXPECT_EQ(drawn(*first), (std::vector<std::int64_t>{0, 3, 6}));
  EXPECT_EQ(drawn(*second), (std::vector<std::int64_t>{1, 4, 7}));
  EXPECT_EQ(drawn(*third), (std::vector<std::int64_t>{2, 5}));
  EXPECT_EQ(told, (std::vector<std::int64_t>{3, 6, 8}));
}

TEST(StridedTickets, EndWhenClosed) {
  const auto tickets = make_strided_tickets(1, 2, 100, nullptr);
  EXPECT_EQ(tickets->next(), 1);
  tickets->close();
  EXPECT_EQ(tickets->next(), std::nullopt);
}

TEST(TicketState, ForgetsItsObserver) {
  int calls = 0;
  TicketState state(3, [&](std::int64_t) { ++calls; });
  state.take();
  state.forget_observer();
  EXPECT_EQ(state.take(), 1);
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace quench::cluster
