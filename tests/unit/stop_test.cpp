#include "cluster/stop.hpp"

#include <gtest/gtest.h>

#include <csignal>

namespace quench::cluster {
namespace {

class Stop : public ::testing::Test {
 protected:
  void TearDown() override { StopFlag::clear(); }
};

TEST_F(Stop, IsSetBySignals) {
  StopFlag::install_signal_handlers();
  const StopFlag flag;
  EXPECT_FALSE(flag.requested());
  EXPECT_STREQ(flag.reason(), "");
  for (const auto& [number, name] : {std::pair{SIGTERM, "SIGTERM"},
                                     {SIGUSR1, "SIGUSR1"},
                                     {SIGUSR2, "SIGUSR2"},
                                     {SIGINT, "SIGINT"}}) {
    std::raise(number);
    EXPECT_TRUE(flag.requested());
    EXPECT_STREQ(flag.reason(), name);
    StopFlag::clear();
  }
}

TEST_F(Stop, KeepsTheFirstReason) {
  StopFlag::install_signal_handlers();
  std::raise(SIGUSR1);
  std::raise(SIGTERM);
  EXPECT_STREQ(StopFlag().reason(), "SIGUSR1");
}

TEST_F(Stop, IsSetByADeadline) {
  StopFlag flag;
  const auto now = std::chrono::steady_clock::now();
  flag.set_deadline(now + std::chrono::hours(1));
  EXPECT_FALSE(flag.requested());
  flag.set_deadline(now);
  EXPECT_TRUE(flag.requested());
  EXPECT_STREQ(flag.reason(), "time limit");
  EXPECT_FALSE(StopFlag().requested());
}

TEST_F(Stop, IsSetByTheProgram) {
  StopFlag::raise();
  EXPECT_TRUE(StopFlag().requested());
}

TEST_F(Stop, ASecondInterruptEndsTheProcess) {
  EXPECT_EXIT(
      {
        StopFlag::install_signal_handlers();
        std::raise(SIGINT);
        std::raise(SIGINT);
      },
      ::testing::KilledBySignal(SIGINT), "");
}

}  // namespace
}  // namespace quench::cluster
