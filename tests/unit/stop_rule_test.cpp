#include "stages/factorisation/stop_rule.hpp"

#include <gtest/gtest.h>

#include <utility>

namespace quench {
namespace {

// Feeds a rule until it stops; the objectives must lead to a stop.
std::pair<std::string, std::size_t> stopped_at(const StopOptions& options,
                                               const std::vector<double>& objectives) {
  StopRule rule(options);
  std::size_t done = 0;
  while (rule.reason().empty() && done < objectives.size()) rule.improves(objectives[done++]);
  return {rule.reason(), done};
}

TEST(StopRule, PatienceCountsFromTheLastImprovementAboveTheTolerance) {
  StopOptions options;
  options.stop = "patience";
  options.patience = 3;
  options.tolerance = 0.5;
  EXPECT_EQ(stopped_at(options, {9, 8, 7.6, 7.7, 7.49, 7.2, 7.1, 7.0, 1}),
            (std::pair<std::string, std::size_t>{"patience", 8}));
  StopRule rule(options);
  for (const double objective : {9.0, 8.0, 7.6, 7.7, 7.49, 7.2}) rule.improves(objective);
  EXPECT_EQ(rule.best_iteration(), 4);
}

TEST(StopRule, ProgressLooksBackOverAWindowOfTheBest) {
  StopOptions options;
  options.window = 2;
  options.progress = 0.1;
  EXPECT_EQ(stopped_at(options, {100, 95, 85, 90, 76, 75, 74, 10}),
            (std::pair<std::string, std::size_t>{"progress", 7}));
  EXPECT_EQ(stopped_at(options, {0, 0, 0, 0}),
            (std::pair<std::string, std::size_t>{"progress", 3}));
}

TEST(StopRule, IterationsAreLimited) {
  StopOptions options;
  options.max_iterations = 4;
  EXPECT_EQ(stopped_at(options, {9, 8, 7, 6, 5, 4}),
            (std::pair<std::string, std::size_t>{"max_iterations", 4}));
}

// Sums over other numbers of ranks round otherwise: that must not choose the best iteration.
TEST(StopRule, RoundingIsNoProgress) {
  StopRule progress{StopOptions{}};
  for (const double objective : {10.0, 5.0, 5.0 * (1 - 2e-8), 5.0 * (1 - 4e-8)})
    progress.improves(objective);
  EXPECT_EQ(progress.best_iteration(), 1);
  EXPECT_TRUE(progress.improves(5.0 * (1 - 2e-7)));
  StopOptions options;
  options.stop = "patience";
  options.tolerance = 0;
  StopRule patience(options);
  patience.improves(5.0);
  EXPECT_TRUE(patience.improves(5.0 * (1 - 2e-8)));  // the reference's rule, as it is
}

}  // namespace
}  // namespace quench
