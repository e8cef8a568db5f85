#include "cluster/watchdog.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <future>

namespace quench::cluster {
namespace {

using namespace std::chrono_literals;

TEST(Watchdog, TellsOfALateCall) {
  std::promise<std::string> told;
  Watchdog watchdog(10ms, [&](const std::string& text) { told.set_value(text); });
  { const Watchdog::Scope early(&watchdog, "collective/broadcast"); }
  const Watchdog::Scope late(&watchdog, "collective/barrier");
  const auto text = told.get_future().get();  // a second word would throw
  EXPECT_TRUE(text.starts_with("collective/barrier has waited")) << text;
}

TEST(Watchdog, IsQuietBetweenCalls) {
  std::atomic<int> barks = 0;
  Watchdog watchdog(500ms, [&](const std::string&) { ++barks; });
  for (int i = 0; i < 1000; ++i) const Watchdog::Scope call(&watchdog, "collective/barrier");
  std::this_thread::sleep_for(700ms);
  EXPECT_EQ(barks, 0);
}

TEST(Watchdog, LooksAwayInAPause) {
  std::atomic<int> barks = 0;
  Watchdog watchdog(10ms, [&](const std::string&) { ++barks; });
  {
    const Watchdog::Pause others_work(&watchdog);
    const Watchdog::Scope call(&watchdog, "collective/all_reduce");
    std::this_thread::sleep_for(50ms);
  }
  EXPECT_EQ(barks, 0);
}

TEST(Watchdog, NobodyNeedsOne) {
  const Watchdog::Pause pause(nullptr);
  const Watchdog::Scope call(nullptr, "collective/barrier");
}

}  // namespace
}  // namespace quench::cluster
