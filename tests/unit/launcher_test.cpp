#include "cluster/launcher.hpp"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "cluster/error.hpp"

namespace quench::cluster {
namespace {

Environment in(const std::map<std::string, std::string>& environment) {
  return [&](const char* name) -> const char* {
    const auto found = environment.find(name);
    return found == environment.end() ? nullptr : found->second.c_str();
  };
}

Launch detect(const std::map<std::string, std::string>& environment) {
  return detect_launch(in(environment));
}

TEST(Launcher, NothingMeansOneProcess) {
  EXPECT_EQ(detect({}).launcher, Launcher::none);
  // A login shell inside an allocation, and a job of one task.
  EXPECT_EQ(detect({{"SLURM_NTASKS", "8"}, {"SLURM_JOB_ID", "1"}}).launcher, Launcher::none);
  EXPECT_EQ(detect({{"SLURM_NTASKS", "1"}, {"SLURM_PROCID", "0"}}).launcher, Launcher::none);
}

// mpirun starts its daemons with srun, one a node: those numbers must not be taken for the job's.
TEST(Launcher, MpirunInsideSlurm) {
  const auto launch = detect({{"OMPI_COMM_WORLD_SIZE", "8"},
                              {"PMIX_RANK", "3"},
                              {"SLURM_PROCID", "1"},
                              {"SLURM_STEP_NUM_TASKS", "2"},
                              {"SLURM_NTASKS", "8"}});
  EXPECT_EQ(launch.launcher, Launcher::mpirun);
  EXPECT_EQ(launch.processes, 8);
}

TEST(Launcher, SrunWithPmix) {
  const auto launch = detect({{"PMIX_RANK", "3"},
                              {"SLURM_PROCID", "3"},
                              {"SLURM_STEP_ID", "0"},
                              {"SLURM_STEP_NUM_TASKS", "4"},
                              {"SLURM_NTASKS", "16"}});
  EXPECT_EQ(launch.launcher, Launcher::srun);
  EXPECT_EQ(launch.processes, 4);
  EXPECT_EQ(detect({{"PMI_RANK", "0"}, {"SLURM_STEP_ID", "0"}, {"SLURM_NTASKS", "6"}}).processes,
            6);
  EXPECT_EQ(detect({{"PMI_RANK", "0"}, {"PMI_SIZE", "5"}}).processes, 5);
}

TEST(Launcher, KnowsItsRankBeforeMpi) {
  const auto rank = [](const std::map<std::string, std::string>& environment) {
    return launched_rank(in(environment));
  };
  EXPECT_EQ(rank({}), 0);
  EXPECT_EQ(rank({{"SLURM_PROCID", "3"}}), 3);
  EXPECT_EQ(rank({{"PMIX_RANK", "2"}, {"SLURM_PROCID", "2"}}), 2);
  EXPECT_EQ(rank({{"PMI_RANK", "4"}}), 4);
  // mpirun inside Slurm: the daemon's number does not count.
  EXPECT_EQ(rank({{"OMPI_COMM_WORLD_RANK", "5"}, {"SLURM_PROCID", "1"}}), 5);
}

TEST(Launcher, SlurmTaskThatNothingConnects) {
  try {
    detect({{"SLURM_PROCID", "1"}, {"SLURM_NTASKS", "4"}});
    FAIL() << "nothing thrown";
  } catch (const ConfigError& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find("4 Slurm tasks"), std::string::npos) << message;
    EXPECT_NE(message.find("srun --mpi=pmix"), std::string::npos) << message;
    EXPECT_NE(message.find("mpirun"), std::string::npos) << message;
  }
}

TEST(Launcher, ComparesWithMpi) {
  EXPECT_NO_THROW(check_launch({Launcher::srun, 4}, 4));
  EXPECT_NO_THROW(check_launch({Launcher::srun, 0}, 1));
  try {
    check_launch({Launcher::srun, 4}, 1);
    FAIL() << "nothing thrown";
  } catch (const ConfigError& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find("4 processes"), std::string::npos) << message;
    EXPECT_NE(message.find("joins 1"), std::string::npos) << message;
  }
}

}  // namespace
}  // namespace quench::cluster
