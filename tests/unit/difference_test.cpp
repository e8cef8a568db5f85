#include "stages/evaluation/difference.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "cluster/random.hpp"

namespace quench::evaluation {
namespace {

TEST(PairedDifference, SmallSetsTryAllSigns) {
  // Differences 1, 1, 1: of 8 patterns of signs, 2 give a sum as far from 0.
  const auto d = paired_difference(PairedItems{{0, 1, 2}, {1, 2, 3}}, 200, "test");
  EXPECT_DOUBLE_EQ(d.value, 1);
  EXPECT_DOUBLE_EQ(d.p, 0.25);
  EXPECT_EQ(d.n, 3);
  EXPECT_DOUBLE_EQ(d.interval.low, 1);
  EXPECT_DOUBLE_EQ(d.interval.high, 1);
  EXPECT_DOUBLE_EQ(paired_difference(PairedItems{{0, 0}, {1, -1}}, 200, "test").p, 1);
  EXPECT_DOUBLE_EQ(paired_difference(PairedItems{{1, 2}, {1, 2}}, 200, "test").p, 1);
  // 3, -1, 1: |sum| >= 3 of the patterns +-3 +-1 +-1: 5, 3, 3, 1 by sign: 6 of 8.
  EXPECT_DOUBLE_EQ(paired_difference(PairedItems{{0, 0, 0}, {3, -1, 1}}, 200, "test").p, 0.75);
}

PairedItems shifted(std::size_t count, double by, const std::string& key) {
  const cluster::KeyedRandom random(1, key);
  PairedItems items;
  for (std::uint64_t i = 0; i < count; ++i) {
    const double item = 10 * random.normal(i);  // items differ far more than methods do
    items.a.push_back(item);
    items.b.push_back(item + by + random.normal(100000 + i));
  }
  return items;
}

TEST(PairedDifference, LargeSetsDrawSigns) {
  const auto none = paired_difference(shifted(100, 0, "none"), 999, "test");
  EXPECT_GT(none.p, 0.02);
  EXPECT_LT(none.interval.low, 0);
  EXPECT_GT(none.interval.high, 0);
  const auto some = paired_difference(shifted(100, 0.5, "some"), 999, "test");
  EXPECT_LE(some.p, 0.002);
  EXPECT_GE(some.p, 0.001);  // never below what so many draws can tell
  EXPECT_GT(some.interval.low, 0);
  EXPECT_NEAR(some.interval.high - some.interval.low, 2 * 1.96 / 10, 0.12);
}

TEST(PairedDifference, MissingItemsDoNotCount) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto d = paired_difference(PairedItems{{0, nan, 0}, {1, 5, nan}}, 50, "test");
  EXPECT_EQ(d.n, 1);
  EXPECT_DOUBLE_EQ(d.value, 1);
  const auto none = paired_difference(PairedItems{{nan}, {1}}, 50, "test");
  EXPECT_TRUE(std::isnan(none.value));
  EXPECT_EQ(none.p, 1);
}

TEST(PairedDifference, OfConceptsCountsConceptsAlike) {
  // Mean differences 1 (of 1 item) and 0 (of 99).
  const std::vector<PairedItems> concepts{{{0}, {1}},
                                          {std::vector<double>(99, 0), std::vector<double>(99, 0)}};
  const auto d = paired_difference(concepts, 500, "test");
  EXPECT_DOUBLE_EQ(d.value, 0.5);
  EXPECT_EQ(d.n, 2);
  EXPECT_DOUBLE_EQ(d.interval.low, 0);
  EXPECT_DOUBLE_EQ(d.interval.high, 1);
  EXPECT_DOUBLE_EQ(d.p, 1);
}

TEST(PairedDifference, OfConceptsSeesItemsToo) {
  std::vector<PairedItems> concepts;
  for (int c = 0; c < 8; ++c) concepts.push_back(shifted(25, 0.5, "c" + std::to_string(c)));
  const auto d = paired_difference(concepts, 600, "test");
  EXPECT_NEAR(d.value, 0.5, 0.25);
  EXPECT_LE(d.p, 0.05);
  // Items alone: 1 / sqrt(200); with the concepts' own scatter about sqrt(2) as wide.
  EXPECT_GT(d.interval.high - d.interval.low, 2 * 1.96 / std::sqrt(200.0));
  EXPECT_LT(d.interval.high - d.interval.low, 2 * 2 * 1.96 / std::sqrt(200.0));
}

}  // namespace
}  // namespace quench::evaluation
