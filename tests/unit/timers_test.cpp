#include "cluster/timers.hpp"

#include <gtest/gtest.h>

#include "cluster/communicator.hpp"

namespace quench::cluster {
namespace {

TEST(Timers, AddUp) {
  Timers timers;
  timers.add("a", 1.5);
  timers.add("a", 2);
  { const auto scope = timers.scope("b"); }
  EXPECT_EQ(timers.entries().at("a").seconds, 3.5);
  EXPECT_EQ(timers.entries().at("a").calls, 2);
  EXPECT_GE(timers.entries().at("b").seconds, 0);
  EXPECT_EQ(timers.entries().at("b").calls, 1);
}

// Rank r has timers "rank r" and, unless it is rank 0, "others".
TEST(Timers, SummariseTheUnionOfNames) {
  run_on_threads(3, [](Communicator& comm) {
    Timers timers;
    const int rank = comm.rank();
    timers.add("rank " + std::to_string(rank), rank + 1);
    if (rank > 0) timers.add("others", 3 * rank);
    if (rank > 0) timers.add("others", 0);
    const auto all = summarise(comm, timers);
    ASSERT_EQ(all.size(), 4U);
    EXPECT_EQ(all[0].name, "others");
    EXPECT_EQ(all[0].min, 0);
    EXPECT_DOUBLE_EQ(all[0].mean, 3);
    EXPECT_EQ(all[0].max, 6);
    EXPECT_EQ(all[0].calls, 4);
    EXPECT_EQ(all[3].name, "rank 2");
    EXPECT_EQ(all[3].max, 3);
    EXPECT_DOUBLE_EQ(all[3].mean, 1);
    EXPECT_EQ(all[3].calls, 1);
  });
}

TEST(Timers, SummariseNothing) {
  EXPECT_TRUE(summarise(*make_self_communicator(), Timers()).empty());
}

}  // namespace
}  // namespace quench::cluster
