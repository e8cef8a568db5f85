#include "stages/dictionary/gather.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "cluster/random.hpp"

namespace quench::dictionary {
namespace {

constexpr std::int64_t row_count = 41, kept = 5;

// A G of so many columns: rows anywhere, values that tell where they belong.
WholeColumns make_whole(std::int64_t columns) {
  const cluster::KeyedRandom random(11, "gather_test");
  WholeColumns out;
  for (std::int64_t k = 0; k < columns; ++k) {
    std::vector<std::int32_t> rows(row_count);
    std::iota(rows.begin(), rows.end(), 0);
    std::ranges::sort(rows, {}, [&](auto row) { return random.normal(k * row_count + row); });
    std::sort(rows.begin(), rows.begin() + kept);
    for (std::int64_t i = 0; i < kept; ++i) {
      out.first.push_back(rows[i]);
      out.second.push_back(static_cast<float>((k % 2 == 0 ? 1 : -1) * (1000 * k + rows[i] + 1)));
    }
  }
  return out;
}

class Gather : public ::testing::TestWithParam<std::tuple<int, std::int64_t>> {
 protected:
  int ranks() const { return std::get<0>(GetParam()); }
  WholeColumns whole_ = make_whole(std::get<1>(GetParam()));
  std::int64_t columns_ = std::get<1>(GetParam());
};

// Less than a block of columns, exactly one, and several of which the last one is short.
INSTANTIATE_TEST_SUITE_P(Blocks, Gather,
                         ::testing::Combine(::testing::Values(1, 2, 3, 50),
                                            ::testing::Values(1, columns_at_a_time,
                                                              2 * columns_at_a_time + 7)));

TEST_P(Gather, ScatteredItIsEachRanksRows) {
  cluster::run_on_threads(ranks(), [&](cluster::Communicator& group) {
    const auto own = cluster::rows_of(row_count, group.size(), group.rank());
    const auto given = group.rank() == 0 ? whole_ : WholeColumns{};
    const auto shard = scatter(given.first, given.second, columns_, own, group);
    ASSERT_EQ(shard.columns(), columns_);
    for (std::int64_t k = 0; k < columns_; ++k) {
      std::vector<std::int32_t> rows;
      std::vector<float> values;
      float least = 1e30F;
      for (auto i = k * kept; i < (k + 1) * kept; ++i) {
        least = std::min(least, std::abs(whole_.second[i]));
        if (whole_.first[i] < own.begin || whole_.first[i] >= own.end) continue;
        rows.push_back(static_cast<std::int32_t>(whole_.first[i] - own.begin));
        values.push_back(whole_.second[i]);
      }
      EXPECT_TRUE(std::ranges::equal(shard.rows_of(k), rows));
      EXPECT_TRUE(std::equal(values.begin(), values.end(), shard.values.begin() + shard.offsets[k],
                             shard.values.begin() + shard.offsets[k + 1]));
      EXPECT_EQ(shard.least_kept.at(k), least);
    }
  });
}

TEST_P(Gather, IsWholeOnRank0Alone) {
  cluster::run_on_threads(ranks(), [&](cluster::Communicator& group) {
    const auto own = cluster::rows_of(row_count, group.size(), group.rank());
    const auto shard = scatter(whole_.first, whole_.second, columns_, own, group);
    EXPECT_EQ(gather(shard, own.begin, group), group.rank() == 0 ? whole_ : WholeColumns{});
  });
}

}  // namespace
}  // namespace quench::dictionary
