#include "stages/evaluation/difference.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "cluster/random.hpp"
#include "tests/unit/answers.hpp"

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

Sample sample_of(const testing::Answers& answers) {
  return Sample(answers.pairs(), Split::test, {}, "diff/concept");
}

// Own questions whose margins scatter widely, and less `by` in the edited model.
testing::Answers with_margins(float by, float noise, const std::string& key) {
  const cluster::KeyedRandom items(1, "items"), own(1, key);
  testing::Answers answers;
  for (std::uint64_t i = 0; i < 60; ++i) {
    const auto margin = static_cast<float>(2 + items.normal(i));
    const auto extra = noise * static_cast<float>(own.normal(i));
    answers.add_choice(Subset::own, margin, margin - by + extra);
  }
  return answers;
}

TEST(PairedFigures, DrawTheSameItemsInBoth) {
  const auto a = with_margins(0.5f, 0.1f, "a"), b = with_margins(0.6f, 0.1f, "b");
  const auto differences = paired_difference(sample_of(a), sample_of(b), 500);
  const auto& margin = differences[figure_index("own_margin")];
  EXPECT_NEAR(margin.value, -0.1, 0.06);
  EXPECT_EQ(margin.n, 60);
  EXPECT_LT(margin.p, 0.05);
  EXPECT_GE(margin.p, 2 / 501.0);
  // Items scatter by 1, runs by 0.1 x sqrt(2): only the latter counts.
  EXPECT_NEAR(margin.interval.high - margin.interval.low, 2 * 1.96 * 0.1414 / std::sqrt(60.0),
              0.02);
  EXPECT_TRUE(margin.is_beyond_interval());
  const auto& efficacy = differences[figure_index("efficacy")];
  EXPECT_GT(efficacy.value, 0);
  EXPECT_TRUE(efficacy.is_beyond_interval());
  EXPECT_TRUE(std::isnan(differences[figure_index("coherence")].value));
  EXPECT_FALSE(differences[figure_index("coherence")].is_beyond_interval());
  // Each run by itself could not tell them apart.
  const auto alone = [](const testing::Answers& x) {
    return sample_of(x).scores(500)["own_margin"];
  };
  EXPECT_FALSE(unpaired_difference(alone(a), alone(b)).is_beyond_interval());
}

TEST(PairedFigures, ARunDoesNotDifferFromItself) {
  const auto a = with_margins(0.5f, 0.3f, "a");
  for (const auto& d : paired_difference(sample_of(a), sample_of(a), 50)) {
    if (std::isnan(d.value)) continue;
    EXPECT_EQ(d.value, 0);
    EXPECT_EQ(d.interval.low, 0);
    EXPECT_EQ(d.interval.high, 0);
    EXPECT_EQ(d.p, 1);
    EXPECT_FALSE(d.is_beyond_interval());
  }
}

TEST(BootstrapP, IsTwiceTheSmallerSide) {
  const double nan = std::nan("");
  EXPECT_DOUBLE_EQ(bootstrap_p(std::vector<double>{-1, 1, 2, 3, nan}), 2 * 2 / 5.0);
  EXPECT_DOUBLE_EQ(bootstrap_p(std::vector<double>(99, 0.5)), 2 / 100.0);
  EXPECT_DOUBLE_EQ(bootstrap_p(std::vector<double>(99, -0.5)), 2 / 100.0);
  EXPECT_DOUBLE_EQ(bootstrap_p(std::vector<double>(99, 0)), 1);
  EXPECT_TRUE(std::isnan(bootstrap_p(std::vector<double>{nan})));
}

TEST(UnpairedDifference, KeepsSkewedIntervals) {
  const Estimate a{0.5, {0.5 - 0.3, 0.5 + 0.4}, 20}, b{0.9, {0.9 - 0.4, 0.9 + 0.05}, 30};
  const auto d = unpaired_difference(a, b);
  EXPECT_DOUBLE_EQ(d.value, 0.4);
  EXPECT_DOUBLE_EQ(d.interval.low, 0.4 - std::hypot(0.4, 0.4));
  EXPECT_DOUBLE_EQ(d.interval.high, 0.4 + std::hypot(0.05, 0.3));
  EXPECT_EQ(d.n, 20);
  EXPECT_FALSE(d.is_beyond_interval());
  EXPECT_TRUE(unpaired_difference({0.1, {0.1, 0.2}}, {0.9, {0.8, 1}}).is_beyond_interval());
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_FALSE(unpaired_difference({nan, {nan, nan}}, b).is_beyond_interval());
}

}  // namespace
}  // namespace quench::evaluation
