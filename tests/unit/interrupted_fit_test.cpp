#include <gtest/gtest.h>

#include <numeric>
#include <stdexcept>

#include "cluster/error.hpp"
#include "stages/dictionary/factorise.hpp"
#include "tests/unit/small_fits.hpp"

// Fits that are stopped or lost on the way, saved, and gone on with.
namespace quench::dictionary {
namespace {

class Interrupted : public ::testing::TestWithParam<std::string> {
 protected:
  Interrupted() {
    options_.rank = 10;
    options_.checkpoint = 1e9;
  }
  Fit fit(cluster::Communicator& group, const FitHooks& hooks = {}) const {
    return fit_in_form(group, columns_, 24, options_, GetParam(), hooks);
  }
  Fit fit(const FitHooks& hooks = {}) const {
    return fit(*cluster::make_self_communicator(), hooks);
  }
  // From a saved state, on so many ranks, as if nothing had happened.
  void expect_goes_on(const FitState& saved, int ranks) const {
    const auto whole = fit_of(columns_, 24, options_);
    cluster::run_on_threads(ranks, [&](cluster::Communicator& group) {
      FitHooks hooks;
      hooks.resume = [&] { return saved; };
      expect_same_fit(fit(group, hooks), whole, group.rank());
    });
  }

  const std::vector<float> columns_ = make_columns(400, 24);
  Options options_;
};
INSTANTIATE_TEST_SUITE_P(Factorise, Interrupted,
                         ::testing::Values("bounded", "streamed", "device"));

TEST_P(Interrupted, GoesOnFromASavedState) {
  ASSERT_GT(fit_of(columns_, 24, options_).objective.size(), 25U);
  FitState saved;
  cluster::run_on_threads(2, [&](cluster::Communicator& group) {
    std::int64_t iterations = 0;
    FitHooks hooks;
    hooks.stop = [&] { return ++iterations == 15; };
    hooks.save = [&](const FitState& state) {
      if (group.rank() == 0)
        saved = state;
      else
        EXPECT_TRUE(state.rows.empty() && state.best_rows.empty() && state.best_features.empty());
    };
    EXPECT_THROW(fit(group, hooks), Stopped);
  });
  ASSERT_EQ(saved.objective.size(), 15U);
  expect_goes_on(saved, 3);
}

// A lost job: nobody is asked to stop, and the last checkpoint is what is left.
TEST_P(Interrupted, GoesOnFromAPeriodicCheckpoint) {
  options_.checkpoint = 0;  // after every iteration
  FitState saved;
  FitHooks hooks;
  hooks.save = [&](const FitState& state) {
    if (state.objective.size() == 9) throw std::runtime_error("killed");
    saved = state;
  };
  EXPECT_THROW(fit(hooks), std::runtime_error);
  ASSERT_GE(saved.objective.size(), 1U);
  ASSERT_LE(saved.objective.size(), 8U);
  options_.checkpoint = 1e9;
  expect_goes_on(saved, 3);
}

// A stop of one rank ends the fit of all after the iteration that it was asked for in, wherever
// that is among those between two looks of the host.
TEST_P(Interrupted, AStopIsOfTheIterationItWasAskedForIn) {
  for (const std::size_t at : {1, 2, 8, 9, 20}) {
    FitState saved;
    const auto stop_at = [&](cluster::Communicator& group) {
      std::size_t iterations = 0;
      FitHooks hooks;
      hooks.stop = [&] { return ++iterations == at && group.rank() == 1; };
      hooks.save = [&](const FitState& state) {
        if (group.rank() == 0) saved = state;
      };
      fit(group, hooks);
    };
    EXPECT_THROW(cluster::run_on_threads(3, stop_at), Stopped);
    ASSERT_EQ(saved.objective.size(), at);
    expect_goes_on(saved, 1);
  }
}

TEST_P(Interrupted, SavingAfterEveryIterationChangesNothing) {
  options_.checkpoint = 0;
  const auto whole = fit();
  std::vector<std::size_t> saved;
  cluster::run_on_threads(2, [&](cluster::Communicator& group) {
    FitHooks hooks;
    hooks.save = [&](const FitState& state) {
      EXPECT_EQ(std::ssize(state.rows), group.rank() == 0 ? 10 * 4 : 0);
      if (group.rank() == 0) saved.push_back(state.objective.size());
    };
    expect_same_fit(fit(group, hooks), whole, group.rank());
  });
  std::vector<std::size_t> all(whole.objective.size() - 1);
  std::iota(all.begin(), all.end(), 1);
  EXPECT_EQ(saved, all);
}

}  // namespace
}  // namespace quench::dictionary
