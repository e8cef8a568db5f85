#include <gtest/gtest.h>

#include "cluster/collectives.hpp"
#include "cluster/error.hpp"
#include "cluster/mpi_handle.hpp"
#include "communicator_conformance.hpp"
#include "mpi_test_main.hpp"

namespace quench::testing {
namespace {

using namespace cluster;

// Over MPI: as it is, and with transfers cut into pieces of 3 elements.
class MpiConformance : public ::testing::TestWithParam<std::tuple<ConformanceCheck, std::int64_t>> {
};

TEST_P(MpiConformance, Holds) {
  const auto& [check, max_count] = GetParam();
  const auto comm = make_mpi_communicator(mpi_handle(session().world()), max_count);
  check.run(*comm);
}

std::string case_name(const ::testing::TestParamInfo<MpiConformance::ParamType>& tested) {
  return std::get<0>(tested.param).name + (std::get<1>(tested.param) == 3 ? "InPieces" : "");
}

INSTANTIATE_TEST_SUITE_P(Mpi, MpiConformance,
                         ::testing::Combine(::testing::ValuesIn(conformance_checks()),
                                            ::testing::Values(max_mpi_count, 3)),
                         case_name);

TEST(MpiCommunicator, IsWhatTheSessionUses) {
  EXPECT_EQ(session().world().name(), "mpi");
  EXPECT_NE(mpi_handle(session().world()), MPI_COMM_NULL);
  EXPECT_EQ(mpi_handle(*make_self_communicator()), MPI_COMM_NULL);
}

template <typename E, typename Action>
std::string error_of(Action action) {
  try {
    action();
  } catch (const E& error) {
    return error.what();
  }
  return "nothing thrown";
}

TEST(MpiCommunicator, KeepsCallRankAndText) {
  const auto message = error_of<ClusterError>([] { check_mpi(MPI_ERR_ROOT, "MPI_Bcast"); });
  EXPECT_NE(message.find("MPI_Bcast"), std::string::npos) << message;
  EXPECT_NE(message.find("rank " + std::to_string(session().world().rank())), std::string::npos)
      << message;
  EXPECT_NE(message.find("MPI_ERR_ROOT"), std::string::npos) << message;
}

TEST(MpiCommunicator, ReturnsErrorsOfMpi) {
  auto& world = session().world();
  const auto counts = std::vector<std::int64_t>(world.size(), -1);  // MPI itself refuses them
  const auto message = error_of<ClusterError>([&] {
    world.all_gather_v({nullptr, -1, DType::f32}, {nullptr, -world.size(), DType::f32}, counts);
  });
  EXPECT_NE(message.find("MPI_Allgatherv"), std::string::npos) << message;
  EXPECT_NE(message.find("MPI_ERR_COUNT"), std::string::npos) << message;
}

TEST(MpiCommunicator, RefusesMoreSharedMemoryThanThereIs) {
  auto node = session().world().split_by_node();
  const auto message = error_of<ConfigError>([&] { node->shared_memory(std::int64_t{1} << 60); });
  EXPECT_NE(message.find("1152921504606846976 bytes"), std::string::npos) << message;
  if (node->size() > 1) {
    EXPECT_NE(message.find("OMPI_MCA_osc_sm_backing_directory"), std::string::npos) << message;
  }
}

}  // namespace
}  // namespace quench::testing
