// Ranks are processes under MPI, or this process alone. (Not threads: NCCL over several devices of
// one process may wait for ever for a thread that allocates memory.)
#include <gtest/gtest.h>

#include "cluster/collectives.hpp"
#include "cluster/error.hpp"
#include "cluster/nccl_communicator.hpp"
#include "device_conformance.hpp"
#include "mpi_test_main.hpp"

namespace quench::testing {
namespace {

using namespace cluster;

class OnDevice : public ::testing::Test {
 protected:
  // The note is the same on all ranks, and so is the skipping.
  void SetUp() override {
    const auto note = session().use_device("auto");
    if (!note.empty()) GTEST_SKIP() << note;
  }
};

class NcclConformance : public OnDevice, public ::testing::WithParamInterface<ConformanceCheck> {};

TEST_P(NcclConformance, Holds) { run_on_device(session().world(), session().device(), GetParam()); }

INSTANTIATE_TEST_SUITE_P(Nccl, NcclConformance, ::testing::ValuesIn(conformance_checks()),
                         [](const auto& tested) { return tested.param.name; });

// The copy in, three reductions and the copy out are enqueued before the host waits, once.
TEST_F(OnDevice, EnqueuesInTheOrderOfItsStream) {
  auto& world = session().world();
  const Stream stream;
  const auto comm = make_nccl_communicator(world, session().device(), stream.get());
  constexpr std::int64_t count = 1 << 20, bytes = count * sizeof(float);
  const std::vector<float> before(count, static_cast<float>(world.rank() + 1));
  std::vector<float> after(count);
  void* memory = nullptr;
  require(cudaMalloc(&memory, bytes), "cudaMalloc");
  require(cudaMemcpyAsync(memory, before.data(), bytes, cudaMemcpyHostToDevice, stream.get()),
          "cudaMemcpyAsync");
  for (int i = 0; i < 3; ++i) comm->all_reduce({memory, count, DType::f32}, Op::sum);
  require(cudaMemcpyAsync(after.data(), memory, bytes, cudaMemcpyDeviceToHost, stream.get()),
          "cudaMemcpyAsync");
  comm->wait();
  cudaFree(memory);
  const auto size = static_cast<float>(world.size());
  EXPECT_EQ(after, std::vector<float>(count, size * (size + 1) / 2 * size * size));
}

// All ranks get a device of their own, or all are refused.
TEST(SessionDevice, IsForAllRanksOrForNone) {
  const auto note = session().use_device("auto");
  ASSERT_EQ(session().device().is_cuda(), note.empty()) << note;
  if (note.empty()) {
    session().use_device("cuda");
    EXPECT_EQ(session().device().uuid.size(), 36u);
    EXPECT_GT(session().device().memory, 0);
  } else {
    EXPECT_THROW(session().use_device("cuda"), ConfigError);
  }
  EXPECT_EQ(session().use_device("cpu"), "");
  EXPECT_FALSE(session().device().is_cuda());
}

// One rank more than devices, none at all included.
TEST(ChooseDevice, TellsOfRanksWithoutADeviceOfTheirOwn) {
  const int devices = static_cast<int>(visible_devices().devices.size());
  run_on_threads(devices + 1, [&](Communicator& world) {
    const auto decision = choose_device(world, world, "node7", "auto");
    EXPECT_FALSE(decision.device.is_cuda());
    EXPECT_NE(decision.note.find("node7"), std::string::npos) << decision.note;
    EXPECT_NE(decision.note.find("on the CPU"), std::string::npos) << decision.note;
    EXPECT_THROW(choose_device(world, world, "node7", "cuda"), ConfigError);
  });
}

// What all of `ranks` ranks throw, as rank 0 has it.
template <typename Expected>
std::string refusal(int ranks, const Device& device) {
  std::string message = "nothing thrown";
  run_on_threads(ranks, [&](Communicator& host) {
    bool refused = false;
    try {
      make_nccl_communicator(host, device);
    } catch (const Expected& error) {
      refused = true;
      if (host.rank() == 0) message = error.what();
    }
    EXPECT_TRUE(refused) << "rank " << host.rank();
  });
  return message;
}

TEST_F(OnDevice, RefusesTwoRanksWithOne) {
  const auto device = session().device();
  const auto message = refusal<ClusterError>(2, device);
  EXPECT_NE(message.find("ranks 0 and 1"), std::string::npos) << message;
  EXPECT_NE(message.find(device.uuid), std::string::npos) << message;
}

TEST(NcclCommunicator, RefusesTheCpu) {
  const auto message = refusal<InternalError>(3, Device{});
  EXPECT_NE(message.find("needs a CUDA device"), std::string::npos) << message;
}

TEST(NcclCommunicator, TellsOfADeviceThatIsNotThere) {
  const auto message = refusal<ClusterError>(2, {4096, "none", "", 0});
  EXPECT_NE(message.find("cudaSetDevice failed"), std::string::npos) << message;
}

}  // namespace
}  // namespace quench::testing
