#include "cluster/topology.hpp"

#include <gtest/gtest.h>

namespace quench::cluster {
namespace {

int fair(const std::vector<int>& own, const std::vector<std::int32_t>& ranks_on_core) {
  return fair_threads(own, ranks_on_core);
}

TEST(FairThreads, OwnCoresOrAShareOfSharedOnes) {
  EXPECT_EQ(fair({0, 1}, {1, 1, 1, 1}), 2);        // disjoint
  EXPECT_EQ(fair({0, 1, 2, 3}, {2, 2, 2, 2}), 2);  // two ranks, unbound
  EXPECT_EQ(fair({0, 1, 2, 3}, {3, 3, 3, 3}), 1);  // three ranks, unbound
  EXPECT_EQ(fair({0, 1, 2, 3, 4, 5}, {3, 3, 3, 3, 3, 3}), 2);
  EXPECT_EQ(fair({0, 1, 2}, {1, 2, 2, 1}), 2);  // overlapping in part
  EXPECT_EQ(fair({0}, {5}), 1);                 // more ranks than cores
  EXPECT_EQ(fair({}, {}), 1);                   // unknown
}

Placement placed(Launcher launcher, int ranks, int threads, int bound, int available) {
  return {.host = "node7",
          .launcher = launcher,
          .ranks = ranks,
          .threads = threads,
          .bound = bound,
          .available = available};
}

TEST(PlacementAdvice, NamesTheOptionThatUsesIdleCores) {
  const auto advice = placement_advice(placed(Launcher::mpirun, 2, 2, 2, 16));
  EXPECT_NE(advice.find("leaves 14 of its 16 cores idle"), std::string::npos) << advice;
  EXPECT_NE(advice.find("--map-by slot:PE=8"), std::string::npos) << advice;
  EXPECT_NE(advice.find("--bind-to none"), std::string::npos) << advice;
  EXPECT_NE(advice.find("node7"), std::string::npos) << advice;
  const auto slurm = placement_advice(placed(Launcher::srun, 2, 2, 2, 16));
  EXPECT_NE(slurm.find("--cpus-per-task=8"), std::string::npos) << slurm;
}

TEST(PlacementAdvice, TellsOfTooManyThreads) {
  const auto advice = placement_advice(placed(Launcher::mpirun, 4, 16, 8, 8));
  EXPECT_NE(advice.find("16 threads on 8 cores"), std::string::npos) << advice;
  EXPECT_NE(advice.find("give each rank 2 (OMP_NUM_THREADS)"), std::string::npos) << advice;
  const auto crowded = placement_advice(placed(Launcher::none, 3, 3, 2, 2));
  EXPECT_NE(crowded.find("at most 2 ranks"), std::string::npos) << crowded;
}

TEST(PlacementAdvice, IsSilentWhenNothingCanBeGained) {
  EXPECT_EQ(placement_advice(placed(Launcher::mpirun, 2, 16, 16, 16)), "");
  EXPECT_EQ(placement_advice(placed(Launcher::mpirun, 3, 3, 3, 4)), "");    // 4 / 3 is 1 each
  EXPECT_EQ(placement_advice(placed(Launcher::mpirun, 2, 2, 16, 16)), "");  // wanted: fewer threads
  EXPECT_EQ(placement_advice(placed(Launcher::none, 1, 1, 1, 16)), "");     // bound on purpose
}

}  // namespace
}  // namespace quench::cluster
