#include "cluster/device.hpp"

#include <gtest/gtest.h>

#include "cluster/error.hpp"

namespace quench::cluster {
namespace {

using Visible = std::vector<std::vector<std::string>>;

TEST(AssignDevices, RankModuloDevices) {
  const auto node = assign_devices(Visible(4, {"a", "b", "c", "d"}));
  EXPECT_EQ(node.index, (std::vector{0, 1, 2, 3}));
  EXPECT_TRUE(node.sharing.empty());
}

TEST(AssignDevices, FindsRanksThatShareOne) {
  const auto node = assign_devices(Visible(5, {"b", "a"}));
  EXPECT_EQ(node.index, (std::vector{0, 1, 0, 1, 0}));
  EXPECT_EQ(node.sharing, (std::vector<std::vector<int>>{{0, 2, 4}, {1, 3}}));
}

// As a launcher that binds devices to ranks leaves it: everybody's device has index 0.
TEST(AssignDevices, KnowsDevicesByUuidAndNotByIndex) {
  const auto apart = assign_devices(Visible{{"a"}, {"b"}, {"c"}});
  EXPECT_EQ(apart.index, (std::vector{0, 0, 0}));
  EXPECT_TRUE(apart.sharing.empty());
  const auto crossed = assign_devices(Visible{{"a", "b"}, {"b", "a"}});
  EXPECT_EQ(crossed.index, (std::vector{0, 1}));
  EXPECT_EQ(crossed.sharing, (std::vector<std::vector<int>>{{0, 1}}));
}

TEST(AssignDevices, LeavesRanksThatSeeNoneWithout) {
  const auto node = assign_devices(Visible{{}, {"a"}, {}});
  EXPECT_EQ(node.index, (std::vector{-1, 0, -1}));
  EXPECT_TRUE(node.sharing.empty());
  EXPECT_TRUE(assign_devices(Visible{}).index.empty());
}

TEST(DeviceProblem, IsNoneWhenEachRankHasItsOwn) {
  EXPECT_EQ(device_problem("node7", Visible(3, {"a", "b", "c"}), ""), "");
  EXPECT_EQ(device_problem("node7", Visible{{"a"}, {"b"}}, ""), "");
}

void expect_words(const std::string& text, const std::vector<std::string>& words) {
  for (const auto& word : words) EXPECT_NE(text.find(word), std::string::npos) << text;
}

TEST(DeviceProblem, SaysHowToStartInstead) {
  expect_words(
      device_problem("node7", Visible(3, {"gpu-a", "gpu-b"}), ""),
      {"node7", "ranks 0, 2 of the node", "gpu-a", "at most 2 ranks a node", "--gpus-per-task"});
  expect_words(device_problem("node7", Visible(2, {"gpu-a"}), ""),
               {"ranks 0, 1", "at most 1 rank a node"});
}

TEST(DeviceProblem, SaysWhoSeesNoneAndWhy) {
  expect_words(device_problem("node7", Visible{{"gpu-a"}, {}}, "no driver"),
               {"node7", "rank 1 of the node sees no CUDA device", "no driver"});
}

TEST(DescribeDevice, NamesItForTheLog) {
  EXPECT_EQ(describe(Device{}), "cpu");
  EXPECT_EQ(describe({0, "NVIDIA H100", "00ff", std::int64_t{79} << 30}),
            "NVIDIA H100, 79 GiB, 00ff");
}

TEST(ChooseDevice, TakesTheCpuWithoutALookAtDevices) {
  const auto comm = make_self_communicator();
  const auto decision = choose_device(*comm, *comm, "node7", "cpu");
  EXPECT_FALSE(decision.device.is_cuda());
  EXPECT_EQ(decision.note, "");
  EXPECT_THROW(choose_device(*comm, *comm, "node7", "gpu"), ConfigError);
}

// A build without CUDA.
TEST(ChooseDevice, NamesTheBuildThatHasCuda) {
  if (built_with_cuda()) GTEST_SKIP() << "this build has CUDA";
  run_on_threads(2, [](Communicator& world) {
    const auto decision = choose_device(world, world, "node7", "auto");
    EXPECT_FALSE(decision.device.is_cuda());
    EXPECT_EQ(decision.note, "");
    std::string message = "nothing thrown";
    try {
      choose_device(world, world, "node7", "cuda");
    } catch (const ConfigError& error) {
      message = error.what();
      EXPECT_TRUE(error.agreed());
    }
    expect_words(message, {"run.device = cuda", "./setup.sh --cuda"});
  });
}

}  // namespace
}  // namespace quench::cluster
