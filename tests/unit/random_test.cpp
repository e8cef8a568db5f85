#include "cluster/random.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

namespace quench::cluster {
namespace {

using Block = std::array<std::uint32_t, 4>;

// Known-answer vectors of Random123 (kat_vectors, philox4x32 10).
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}), (Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(KeyedRandom, IsAFunctionOfSeedPurposeAndIndex) {
  const KeyedRandom one(1, "init");
  EXPECT_EQ(one.bits(7), KeyedRandom(1, "init").bits(7));
  std::set<std::uint64_t> different;
  for (const std::uint64_t index : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1} << 32})
    for (const std::uint64_t seed : {0, 1})
      for (const char* purpose : {"init", "init/a", ""})
        different.insert(KeyedRandom(seed, purpose).bits(index));
  EXPECT_EQ(different.size(), 18U);
}

// Mean, variance, fourth moment; bounds are 5 standard errors.
TEST(KeyedRandom, NormalMoments) {
  const KeyedRandom random(42, "moments");
  constexpr int n = 200000;
  double sum = 0, squares = 0, fourths = 0;
  for (int i = 0; i < n; ++i) {
    const double x = random.normal(i);
    sum += x;
    squares += x * x;
    fourths += x * x * x * x;
  }
  const double root = std::sqrt(static_cast<double>(n));
  EXPECT_NEAR(sum / n, 0, 5 / root);
  EXPECT_NEAR(squares / n, 1, 5 * std::sqrt(2.0) / root);
  EXPECT_NEAR(fourths / n, 3, 5 * std::sqrt(96.0) / root);
}

TEST(KeyedRandom, UniformMoments) {
  const KeyedRandom random(42, "moments");
  constexpr int n = 200000;
  double sum = 0, squares = 0, neighbours = 0, previous = 0.5;
  for (int i = 0; i < n; ++i) {
    const double x = random.uniform(i);
    ASSERT_GE(x, 0);
    ASSERT_LT(x, 1);
    sum += x;
    squares += x * x;
    neighbours += (x - 0.5) * (previous - 0.5);
    previous = x;
  }
  const double root = std::sqrt(static_cast<double>(n));
  EXPECT_NEAR(sum / n, 0.5, 5 * std::sqrt(1 / 12.0) / root);
  EXPECT_NEAR(squares / n, 1 / 3.0, 5 * std::sqrt(4 / 45.0) / root);
  EXPECT_NEAR(neighbours / n, 0, 5 / 12.0 / root);
}

TEST(KeyedRandom, BelowStaysBelowAndReachesEverything) {
  const KeyedRandom random(3, "below");
  std::array<int, 7> counts{};
  for (int i = 0; i < 70000; ++i) ++counts.at(random.below(i, 7));
  for (const int count : counts) EXPECT_NEAR(count, 10000, 5 * std::sqrt(10000 * 6 / 7.0));
  EXPECT_GT(random.below(0, ~std::uint64_t{0}) | random.below(1, ~std::uint64_t{0}),
            std::uint64_t{1} << 32);
  EXPECT_EQ(random.below(9, 1), 0U);
}

TEST(KeyedRandom, PermutationIsOneAndDependsOnThePurpose) {
  const auto order = KeyedRandom(1, "a").permutation(1000);
  auto sorted = order;
  std::sort(sorted.begin(), sorted.end());
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(sorted[i], i);
  EXPECT_NE(order, sorted);
  EXPECT_EQ(order, KeyedRandom(1, "a").permutation(1000));
  EXPECT_NE(order, KeyedRandom(1, "b").permutation(1000));
  EXPECT_NE(order, KeyedRandom(2, "a").permutation(1000));
  EXPECT_TRUE(KeyedRandom(1, "a").permutation(0).empty());
  EXPECT_EQ(KeyedRandom(1, "a").permutation(1), std::vector<std::int64_t>{0});
}

// All 24 orders of four things are about equally frequent.
TEST(KeyedRandom, PermutationsAreUniform) {
  std::map<std::vector<std::int64_t>, int> counts;
  constexpr int n = 24000;
  for (int seed = 0; seed < n; ++seed) ++counts[KeyedRandom(seed, "order").permutation(4)];
  EXPECT_EQ(counts.size(), 24U);
  for (const auto& [order, count] : counts) EXPECT_NEAR(count, 1000, 5 * std::sqrt(1000.0));
}

}  // namespace
}  // namespace quench::cluster
