#include "stages/dictionary/cost_model.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "bench/counting_communicator.hpp"
#include "stages/dictionary/factorise.hpp"
#include "tests/support/collective_check.hpp"
#include "tests/unit/small_fits.hpp"

namespace quench::dictionary {
namespace {

// What a rank sends in an iteration in which no feature is screened twice.
std::int64_t counted(int ranks, std::int64_t rows, std::int64_t width, const Options& options) {
  const auto columns = make_columns(rows, width);
  std::int64_t least = std::numeric_limits<std::int64_t>::max();
  cluster::run_on_threads(ranks, [&](cluster::Communicator& group) {
    bench::CountingCommunicator counting(group);
    std::int64_t last = 0;
    FitHooks hooks;
    hooks.progress = [&](std::int64_t iteration, double) {
      const auto sent = counting.bytes() - last;
      last = counting.bytes();
      if (group.rank() == 0 && iteration >= 5) least = std::min(least, sent);
    };
    fit_in_form(counting, columns, width, options, "streamed", hooks);
  });
  return least;
}

TEST(CostModel, SaysWhatARankSends) {
  Options options;
  options.rank = 12;
  options.stop = "patience";  // until thresholds have settled
  options.max_iterations = 150;
  for (const int ranks : {2, 3, 4})
    for (const std::int64_t rows : {1000, 2000}) {
      const FitShape shape{rows, 16, options.rank, kept_per_feature(rows, options.density), ranks};
      EXPECT_NEAR(static_cast<double>(counted(ranks, rows, 16, options)),
                  predict(shape, Form::streamed).bytes_sent, ranks)  // a byte of rounding each
          << ranks << " ranks, " << rows << " rows";
    }
}

// A device's iterations are told some at a time: what was sent for each of those portions.
std::vector<double> counted_on_devices(int ranks, std::int64_t rows, std::int64_t width,
                                       const Options& options) {
  const auto columns = make_columns(rows, width);
  std::vector<double> portions;
  cluster::run_on_threads(ranks, [&](cluster::Communicator& group) {
    bench::CountingCommunicator counting(group);
    std::int64_t last = 0;
    FitHooks hooks;
    hooks.progress = [&](std::int64_t, double) {
      const auto sent = counting.bytes() - last;
      last = counting.bytes();
      if (group.rank() == 0 && sent > 0) portions.push_back(static_cast<double>(sent));
    };
    fit_in_form(counting, columns, width, options, "device", hooks);
  });
  return portions;
}

TEST(CostModel, SaysWhatARankOfDevicesSends) {
  Options options;
  options.rank = 12;
  options.stop = "patience";
  options.max_iterations = 32;
  for (const int ranks : {2, 3}) {
    const FitShape shape{1000, 16, options.rank, kept_per_feature(1000, options.density), ranks};
    const auto portions = counted_on_devices(ranks, 1000, 16, options);
    ASSERT_EQ(portions.size(), 4u);  // the first has the start
    for (std::size_t i = 1; i < portions.size(); ++i)
      EXPECT_NEAR(portions[i], 8 * predict(shape, Form::device).bytes_sent, 8 * ranks) << ranks;
  }
}

TEST(CostModel, AGpuIsFaster) {
  const FitShape shape{6000, 2304, 100, 60};
  for (const auto form : {Form::batched, Form::device})
    EXPECT_LT(predict(shape, form, Machine::gpu()).seconds, predict(shape, form).seconds / 10);
}

TEST(CostModel, ALongFitIsWorthItsStart) {
  FitShape shape{6000, 2304, 100, 60};
  shape.iterations = 1;
  EXPECT_NE(choose_form(shape, "auto"), Form::gram);
  shape.iterations = usual_patient_iterations;
  EXPECT_EQ(choose_form(shape, "auto"), Form::gram);
  shape.ranks = 2;  // C is of one rank
  EXPECT_NE(choose_form(shape, "auto"), Form::gram);
  EXPECT_NE(choose_form(shape, "gram"), Form::gram);
}

TEST(CostModel, MoreRanksComputeLessAndSendMore) {
  const auto at_ranks = [](int ranks) {
    return predict({262144, 640, 2048, 2621, ranks}, Form::streamed);
  };
  EXPECT_EQ(at_ranks(1).bytes_sent, 0);
  for (int ranks = 2; ranks <= 64; ranks *= 2) {
    EXPECT_LT(at_ranks(ranks).seconds, at_ranks(ranks / 2).seconds);
    EXPECT_GT(at_ranks(ranks).bytes_sent, at_ranks(ranks / 2).bytes_sent);
    EXPECT_LT(at_ranks(ranks).resident_bytes, at_ranks(ranks / 2).resident_bytes);
  }
}

}  // namespace
}  // namespace quench::dictionary
