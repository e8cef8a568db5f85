// One factorisation over the devices of all ranks.
#include <gtest/gtest.h>

#include "cluster/nccl_communicator.hpp"
#include "mpi_test_main.hpp"
#include "stages/dictionary/device_place.hpp"
#include "tests/unit/small_fits.hpp"

namespace quench::dictionary {
namespace {

class ShardedOnGpus : public ::testing::TestWithParam<std::int64_t> {
 protected:
  // The note is the same on all ranks, and so is the skipping.
  void SetUp() override {
    const auto note = testing::session().use_device("auto");
    if (!note.empty()) GTEST_SKIP() << note;
  }
};

// Of 3 rows, some ranks have none.
INSTANTIATE_TEST_SUITE_P(Rows, ShardedOnGpus, ::testing::Values(530, 3));

TEST_P(ShardedOnGpus, TheFitOfTheProcessor) {
  auto& world = testing::session().world();
  const GroupDevice device(testing::session(), world, 1 << 20);
  ASSERT_NE(device.place(), nullptr);
  Options options;
  options.rank = GetParam() == 3 ? 2 : 12;
  options.density = 0.03;
  options.max_iterations = 30;
  const auto columns = make_columns(GetParam(), 20);
  const auto fit = fit_in(world, columns, 20, options, {}, "test", device.place());
  EXPECT_EQ(fit.form, "device");
  expect_same_fit(fit, fit_of(columns, 20, options), world.rank());
}

TEST_P(ShardedOnGpus, GoesOnFromASavedState) {
  auto& world = testing::session().world();
  const GroupDevice device(testing::session(), world, 1 << 20);
  Options options;
  options.rank = GetParam() == 3 ? 2 : 12;
  options.density = 0.03;
  options.checkpoint = 1e9;
  const auto columns = make_columns(GetParam(), 20);
  FitState saved;
  std::int64_t iterations = 0;
  FitHooks hooks;
  hooks.stop = [&] { return ++iterations == 5; };
  hooks.save = [&](const FitState& state) { saved = state; };
  EXPECT_THROW(fit_in(world, columns, 20, options, hooks, "test", device.place()), Stopped);
  ASSERT_EQ(saved.objective.size(), 5U);
  FitHooks resumed;
  resumed.resume = [&] { return saved; };
  expect_same_fit(fit_in(world, columns, 20, options, resumed, "test", device.place()),
                  fit_of(columns, 20, options), world.rank());
}

}  // namespace
}  // namespace quench::dictionary
