// One factorisation over the ranks of MPI.
#include <gtest/gtest.h>

#include "cluster/error.hpp"
#include "mpi_test_main.hpp"
#include "tests/unit/small_fits.hpp"

namespace quench::dictionary {
namespace {

class ShardedOverMpi : public ::testing::TestWithParam<std::string> {
 protected:
  ShardedOverMpi() {
    options_.rank = 12;
    options_.density = 0.03;
    options_.max_iterations = 30;
    options_.checkpoint = 1e9;
  }
  Options options_;
};

INSTANTIATE_TEST_SUITE_P(Forms, ShardedOverMpi, ::testing::Values("bounded", "streamed", "device"));

TEST_P(ShardedOverMpi, TheFitOfOneRank) {
  const auto columns = make_columns(530, 20);
  expect_same_fit(fit_in_form(testing::session().world(), columns, 20, options_, GetParam()),
                  fit_of(columns, 20, options_), testing::session().world().rank());
}

TEST_P(ShardedOverMpi, RanksWithoutARow) {
  options_.rank = 2;
  const auto columns = make_columns(3, 20);
  expect_same_fit(fit_in_form(testing::session().world(), columns, 20, options_, GetParam()),
                  fit_of(columns, 20, options_), testing::session().world().rank());
}

TEST_P(ShardedOverMpi, SingularVectorsAsAStart) {
  options_.init = "svd";
  const auto columns = make_columns(530, 20);
  expect_same_fit(fit_in_form(testing::session().world(), columns, 20, options_, GetParam()),
                  fit_of(columns, 20, options_), testing::session().world().rank());
}

TEST_P(ShardedOverMpi, GoesOnFromWhatOneRankSaved) {
  const auto columns = make_columns(530, 20);
  FitState saved;
  std::int64_t iterations = 0;
  FitHooks hooks;
  hooks.stop = [&] { return ++iterations == 5; };
  hooks.save = [&](const FitState& state) { saved = state; };
  EXPECT_THROW(fit_in(*cluster::make_self_communicator(), columns, 20, options_, hooks), Stopped);
  FitHooks resumed;
  resumed.resume = [&] { return saved; };
  const auto fit =
      fit_in_form(testing::session().world(), columns, 20, options_, GetParam(), resumed);
  EXPECT_EQ(saved.objective.size(), 5U);
  expect_same_fit(fit, fit_of(columns, 20, options_), testing::session().world().rank());
}

}  // namespace
}  // namespace quench::dictionary
