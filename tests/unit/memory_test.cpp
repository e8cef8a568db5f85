#include "model/memory.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <limits>

#include "cluster/error.hpp"
#include "tests/support/safetensors_file.hpp"
#include "tests/support/scratch_directory.hpp"

namespace quench::model {
namespace {

namespace fs = std::filesystem;
using testing::ScratchDirectory;
using testing::write_file;

// SmolLM2-135M: 134,515,008 parameters.
ModelConfig smollm2() {
  ModelConfig config;
  config.vocab = 49152;
  config.width = 576;
  config.layers = 30;
  config.heads = 9;
  config.kv_heads = 3;
  config.head_dim = 64;
  config.mlp_width = 1536;
  config.max_position = 8192;
  config.tied = true;
  return config;
}

TEST(Memory, CountsTheParameters) {
  EXPECT_EQ(estimate_memory(smollm2(), 1, 0).weights, 4 * std::int64_t{134'515'008});
}

// A mask of 70,000 x 70,000 numbers alone is 19.6 GB.
TEST(Memory, ALongRowTakesTheSquareOfItsLength) {
  auto config = smollm2();
  EXPECT_LT(long_row_bytes(config, 70000), std::int64_t{20} << 30);  // no mask, no scores
  config.sliding_window = 512;
  EXPECT_GT(long_row_bytes(config, 70000), std::int64_t{19'600'000'000});
  EXPECT_LT(long_row_bytes(config, 400), std::int64_t{1} << 30);
  const auto masked = long_row_bytes(config, 70000);
  config.attention_softcap = 50;
  EXPECT_GT(long_row_bytes(config, 70000), 5 * masked);
}

TEST(Memory, GrowsWithWhatIsAskedFor) {
  const auto small = estimate_memory(smollm2(), 1024, 0);
  const auto batch = estimate_memory(smollm2(), 2048, 0);
  EXPECT_EQ(small.training, 0);
  EXPECT_GT(batch.activations, small.activations);
  EXPECT_EQ(batch.weights, small.weights);
  const auto training = estimate_memory(smollm2(), 1024, 512).training;
  EXPECT_GT(training, 4 * small.weights);  // the trained copy, its gradients and two moments

  auto capped = smollm2();
  capped.attention_softcap = 50;
  EXPECT_GT(estimate_memory(capped, 1024, 0).activations, small.activations);
}

TEST(Memory, SharesTheWeightsOfANode) {
  MemoryEstimate estimate{1000, 10, 30, 20};
  const auto one = estimate.total(1), three = estimate.total(3);
  EXPECT_EQ((three - one) % 2, 0);
  EXPECT_EQ(one - 1000, (three - one) / 2);  // each rank the same, the weights once
  estimate.training = 31;
  EXPECT_EQ(estimate.total(1), one + 1);  // the largest need counts
  estimate.factorisation = 25;
  EXPECT_EQ(estimate.total(1), one + 1);
  estimate.gathered = 10;  // once, beside the factorisation
  EXPECT_EQ(estimate.total(1), one + 5);
  EXPECT_EQ(estimate.total(3), three + 3);
  estimate.factorisation = 31;
  EXPECT_EQ(estimate.total(3), three + 3 + 10);
}

TEST(Memory, DoesNotOverflow) {
  const auto most = std::numeric_limits<std::int64_t>::max();
  const auto estimate = estimate_memory(smollm2(), most, most);
  EXPECT_EQ(estimate.training, most);
  EXPECT_EQ(estimate.total(1000), most);
}

TEST(Memory, TellsBothNumbersAndTheRemedies) {
  MemoryEstimate estimate{std::int64_t{8} << 30, std::int64_t{1} << 30, 0, 1};
  EXPECT_NO_THROW(check_memory(estimate, 2, estimate.total(2)));
  try {
    check_memory(estimate, 2, std::int64_t{4} << 30);
    FAIL();
  } catch (const ConfigError& error) {
    const std::string text = error.what();
    for (const auto* part : {"4.0 GiB", "8.0 GiB", "10.4 GiB", "fewer ranks", "batch_tokens"})
      EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
    EXPECT_EQ(text.find("attacks"), std::string::npos);
  }
  estimate.factorisation = 0;  // of a command that has no dictionaries and no configuration
  try {
    check_memory(estimate, 2, std::int64_t{4} << 30);
    FAIL();
  } catch (const ConfigError& error) {
    const std::string text = error.what();
    for (const auto* part : {"dictionary", "batch_tokens"})
      EXPECT_EQ(text.find(part), std::string::npos) << text;
  }
}

TEST(Memory, ShowsBytes) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(1023), "1023 B");
  EXPECT_EQ(format_bytes(1024), "1.0 KiB");
  EXPECT_EQ(format_bytes(4402341478), "4.1 GiB");
  EXPECT_EQ(format_bytes((std::int64_t{1} << 30) - 1), "1.0 GiB");
  EXPECT_EQ(format_bytes(std::numeric_limits<std::int64_t>::max()), "8.0 EiB");
}

class AvailableMemory : public ::testing::Test {
 protected:
  AvailableMemory() { write("proc/meminfo", "MemTotal: 9000 kB\nMemAvailable:    8000 kB\n"); }
  void write(const std::string& path, const std::string& text) {
    fs::create_directories((root_.path() / path).parent_path());
    write_file(root_.path() / path, text);
  }
  std::int64_t read() const { return available_memory(root_.path()); }
  ScratchDirectory root_;
};

TEST_F(AvailableMemory, IsTheNodesWithoutAGroup) {
  EXPECT_EQ(read(), 8000 * 1024);
  write("proc/self/cgroup", "0::/job\n");  // a group without limits
  write("sys/fs/cgroup/job/memory.max", "max\n");
  write("sys/fs/cgroup/job/memory.current", "100\n");
  EXPECT_EQ(read(), 8000 * 1024);
}

TEST_F(AvailableMemory, KeepsToTheGroupsOfVersion2) {
  write("proc/self/cgroup", "0::/job/step\n");
  write("sys/fs/cgroup/job/step/memory.max", "5000000\n");
  write("sys/fs/cgroup/job/step/memory.current", "2000000\n");
  EXPECT_EQ(read(), 3000000);
  write("sys/fs/cgroup/job/step/memory.stat", "anon 7\ninactive_file 500000\nactive_file 9\n");
  EXPECT_EQ(read(), 3500000);
  write("sys/fs/cgroup/job/memory.max", "1000000\n");  // of an ancestor
  write("sys/fs/cgroup/job/memory.current", "400000\n");
  EXPECT_EQ(read(), 600000);
  write("sys/fs/cgroup/job/memory.current", "1400000\n");
  EXPECT_EQ(read(), 0);
}

TEST_F(AvailableMemory, KeepsToTheGroupsOfVersion1) {
  write("proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/docker/abc\n0::/\n");
  write("sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "7000\n");
  write("sys/fs/cgroup/memory/docker/abc/memory.usage_in_bytes", "3000\n");
  write("sys/fs/cgroup/memory/docker/abc/memory.stat", "total_inactive_file 1000\n");
  EXPECT_EQ(read(), 5000);
  // Inside a container the path is not there; the mount's top is the container's own group.
  fs::remove_all(root_.path() / "sys/fs/cgroup/memory/docker");
  write("sys/fs/cgroup/memory/memory.limit_in_bytes", "6000\n");
  write("sys/fs/cgroup/memory/memory.usage_in_bytes", "2000\n");
  EXPECT_EQ(read(), 4000);
}

TEST(Memory, FindsOutSomethingHere) {
  EXPECT_GT(available_memory(), 0);
  EXPECT_LT(available_memory(), std::int64_t{1} << 50);
}

}  // namespace
}  // namespace quench::model
