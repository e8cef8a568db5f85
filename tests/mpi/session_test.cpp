#include <gtest/gtest.h>

#include "cluster/collectives.hpp"
#include "cluster/error.hpp"
#include "mpi_test_main.hpp"

namespace quench::testing {
namespace {

using namespace cluster;

std::unique_ptr<Communicator> whole_world() {
  return session().world().split(0, session().world().rank());
}

TEST(Session, KnowsItsRanks) {
  const auto& topology = session().topology();
  const int size = session().world().size();
  const int rank = session().world().rank();
  EXPECT_EQ(topology.nodes, 1);
  EXPECT_EQ(topology.ranks_on_node, size);
  EXPECT_EQ(topology.hosts, std::vector<std::string>(size, topology.hosts[0]));
  EXPECT_FALSE(topology.hosts[0].empty());
  EXPECT_GE(topology.threads, 1);
  EXPECT_GE(topology.cores_on_node, 1);
  EXPECT_EQ(session().node().size(), size);
  EXPECT_EQ(session().group().size(), 1);
  ASSERT_NE(session().leaders(), nullptr);
  EXPECT_EQ(session().leaders()->rank(), rank);
}

TEST(Session, MakesGroupsOfNeighbours) {
  const int size = session().world().size();
  const int rank = session().world().rank();
  Session whole(whole_world(), {.group_size = size, .threads = 3});
  const auto members = all_gather(whole.group(), std::span<const int>(std::vector{rank})).values;
  EXPECT_EQ(static_cast<int>(members.size()), size);
  EXPECT_EQ(whole.group().rank(), rank);
  EXPECT_EQ(whole.leaders() != nullptr, rank == 0);
  EXPECT_EQ(whole.topology().threads, 3);
}

TEST(Session, RefusesGroupsThatDoNotFit) {
  const int size = session().world().size();
  for (const int group_size : {0, -1, size + 1, 2 * size}) {
    auto world = whole_world();
    std::string message = "nothing thrown";
    try {
      const Session broken(std::move(world), {.group_size = group_size});
    } catch (const ConfigError& error) {
      message = error.what();
    }
    EXPECT_NE(message.find("group_size = " + std::to_string(group_size)), std::string::npos)
        << message;
  }
}

TEST(Session, NamesTheLibraries) {
  const auto versions = library_versions();
  ASSERT_EQ(versions.size(), built_with_cuda() ? 4u : 2u);
  EXPECT_TRUE(versions[0].starts_with("Open MPI 4") || versions[0].starts_with("Open MPI 5"))
      << versions[0];
  EXPECT_TRUE(versions[1].starts_with("HDF5 1.")) << versions[1];
  if (!built_with_cuda()) return;
  EXPECT_TRUE(versions[2].starts_with("CUDA ")) << versions[2];
  EXPECT_TRUE(versions[3].starts_with("NCCL 2.")) << versions[3];
}

}  // namespace
}  // namespace quench::testing
