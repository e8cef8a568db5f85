#include "cluster/progress.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

namespace quench::cluster {
namespace {

TEST(FormatDuration, UsesTwoUnits) {
  EXPECT_EQ(format_duration(0), "0 s");
  EXPECT_EQ(format_duration(-1), "0 s");
  EXPECT_EQ(format_duration(12.4), "12 s");
  EXPECT_EQ(format_duration(59.6), "1 min 00 s");
  EXPECT_EQ(format_duration(200), "3 min 20 s");
  EXPECT_EQ(format_duration(3600 + 4 * 60), "1 h 04 min");
  EXPECT_EQ(format_duration(100 * 3600.0), "100 h 00 min");
}

std::string printed(const std::function<void()>& body) {
  ::testing::internal::CaptureStderr();
  body();
  return ::testing::internal::GetCapturedStderr();
}

TEST(Progress, PrintsFirstAndLast) {
  const auto text = printed([] {
    Progress progress(true, "dictionary", 300);
    progress.update(100);
    for (int i = 101; i < 300; ++i) progress.update(i);
    progress.update(300);
  });
  EXPECT_EQ(text.find("dictionary: 100/300\n"), 0U) << text;
  EXPECT_NE(text.find("dictionary: 300/300, "), std::string::npos) << text;
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2) << text;
  EXPECT_EQ(text.find('\r'), std::string::npos);
}

TEST(Progress, PrintsWhereItEnded) {
  const auto text = printed([] {
    Progress progress(true, "dictionary", 300);
    progress.update(0);
    progress.update(20);
    progress.update(10);
  });
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2) << text;
  EXPECT_NE(text.find("\ndictionary: 20/300, "), std::string::npos) << text;
  EXPECT_NE(text.find(" left\n"), std::string::npos) << text;
}

TEST(Progress, IsSilentElsewhere) {
  EXPECT_EQ(printed([] {
              Progress progress(false, "dictionary", 2);
              progress.update(1);
              progress.update(2);
            }),
            "");
}

}  // namespace
}  // namespace quench::cluster
