#include "cluster/partition.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace quench::cluster {
namespace {

// Every size and rank count up to beyond each other: the blocks cover the rows in order, and differ
// by one row at most, the longer ones first.
TEST(RowsOf, CoversRowsInOrder) {
  for (std::int64_t rows = 0; rows <= 40; ++rows)
    for (int size = 1; size <= 45; ++size) {
      std::int64_t next = 0;
      for (int rank = 0; rank < size; ++rank) {
        const Range range = rows_of(rows, size, rank);
        const std::int64_t expected = rows / size + (rank < rows % size ? 1 : 0);
        ASSERT_EQ(range.begin, next) << rows << " rows, rank " << rank << " of " << size;
        ASSERT_EQ(range.size(), expected) << rows << " rows, rank " << rank << " of " << size;
        next = range.end;
      }
      ASSERT_EQ(next, rows) << size << " ranks";
    }
}

TEST(RowsOf, HoldsBeyond32Bits) {
  constexpr std::int64_t rows = (std::int64_t{1} << 40) + 5;
  EXPECT_EQ(rows_of(rows, 3, 0), (Range{0, 366503875927}));
  EXPECT_EQ(rows_of(rows, 3, 1), (Range{366503875927, 733007751854}));
  EXPECT_EQ(rows_of(rows, 3, 2), (Range{733007751854, rows}));
}

// Costs that fall evenly: every two rounds all ranks have the same.
TEST(DealtTo, GivesRanksTheSameCost) {
  for (int size = 1; size <= 9; ++size) {
    const std::int64_t count = 6 * size;
    std::vector<std::int64_t> cost(size), dealt(size);
    for (std::int64_t i = 0; i < count; ++i) {
      const auto rank = dealt_to(i, size);
      ASSERT_GE(rank, 0);
      ASSERT_LT(rank, size);
      cost[rank] += count - i;
      ++dealt[rank];
    }
    EXPECT_EQ(cost, std::vector<std::int64_t>(size, 3 * (count + 1))) << size << " ranks";
    EXPECT_EQ(dealt, std::vector<std::int64_t>(size, 6)) << size << " ranks";
  }
}

}  // namespace
}  // namespace quench::cluster
