#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>

#include "cluster/collectives.hpp"
#include "cluster/error.hpp"
#include "cluster/session.hpp"
#include "communicator_conformance.hpp"

namespace quench::testing {
namespace {

using namespace cluster;

// In one process: alone (0), and as threads.
class LocalConformance : public ::testing::TestWithParam<std::tuple<ConformanceCheck, int>> {};

TEST_P(LocalConformance, Holds) {
  const auto& [check, threads] = GetParam();
  if (threads == 0)
    check.run(*make_self_communicator());
  else
    run_on_threads(threads, check.run);
}

std::string case_name(const ::testing::TestParamInfo<LocalConformance::ParamType>& tested) {
  const int threads = std::get<1>(tested.param);
  return std::get<0>(tested.param).name +
         (threads ? "On" + std::to_string(threads) + "Threads" : "Alone");
}

INSTANTIATE_TEST_SUITE_P(Local, LocalConformance,
                         ::testing::Combine(::testing::ValuesIn(conformance_checks()),
                                            ::testing::Values(0, 1, 2, 3, 5)),
                         case_name);

// One of five ranks throws; the others wait for it in `pending` and must be released.
void expect_release(const std::function<void(Communicator&)>& pending) {
  std::atomic<int> released = 0;
  const auto body = [&](Communicator& comm) {
    if (comm.rank() == 3) throw DataError("rank 3 is broken");
    try {
      pending(comm);
    } catch (const ClusterError&) {
      ++released;
      throw;
    }
  };
  try {
    run_on_threads(5, body);
    ADD_FAILURE() << "nothing thrown";
  } catch (const DataError& error) {
    EXPECT_STREQ(error.what(), "rank 3 is broken");
  }
  EXPECT_EQ(released, 4);
}

TEST(RunOnThreads, ReleasesCollectiveCalls) {
  expect_release([](Communicator& comm) { comm.barrier(); });
  expect_release([](Communicator& comm) { all_reduce_value(comm, 1, Op::sum); });
  expect_release([](Communicator& comm) { comm.split(0, 0); });
  expect_release([](Communicator& comm) { comm.tickets(5, nullptr); });
}

// Rank 3 throws within a group while others are busy in groups of their own.
TEST(RunOnThreads, ReleasesGroups) {
  std::atomic<int> released = 0;
  EXPECT_THROW(run_on_threads(5,
                              [&](Communicator& comm) {
                                auto group = comm.split(comm.rank() % 2, 0);
                                if (comm.rank() == 3) throw DataError("rank 3 is broken");
                                try {
                                  for (;;) all_reduce_value(*group, comm.rank(), Op::sum);
                                } catch (const ClusterError&) {
                                  ++released;
                                }
                              }),
               DataError);
  EXPECT_EQ(released, 4);
}

// Rank 0 waits in its counter's destructor for the others, one of which never leaves properly.
TEST(RunOnThreads, ReleasesTickets) {
  EXPECT_THROW(run_on_threads(3,
                              [&](Communicator& comm) {
                                auto tickets = comm.tickets(1'000'000'000, nullptr);
                                if (comm.rank() == 2) throw DataError("rank 2 is broken");
                                while (tickets->next()) {
                                }
                              }),
               DataError);
}

TEST(RunOnThreads, RefusesUnequalBuffers) {
  std::atomic<int> refused = 0;
  run_on_threads(3, [&](Communicator& comm) {
    std::vector<float> values(comm.rank() == 1 ? 4 : 5, 1.0f);
    try {
      all_reduce_sum(comm, std::span<float>(values));
    } catch (const InternalError&) {
      ++refused;
    }
    comm.barrier();
  });
  EXPECT_EQ(refused, 3);
}

TEST(Session, WorksOnThreads) {
  run_on_threads(4, [](Communicator& comm) {
    Session session(comm.split(0, comm.rank()), {.group_size = 2, .threads = 1});
    const auto members =
        all_gather(session.group(), std::span<const int>(std::vector{comm.rank()})).values;
    const int first = comm.rank() / 2 * 2;
    EXPECT_EQ(members, (std::vector{first, first + 1}));
    EXPECT_EQ(session.leaders() != nullptr, comm.rank() % 2 == 0);
    if (session.leaders()) {
      EXPECT_EQ(session.leaders()->rank(), comm.rank() / 2);
      EXPECT_EQ(session.leaders()->size(), 2);
    }
    EXPECT_EQ(session.topology().ranks_on_node, 4);
    EXPECT_EQ(session.topology().hosts.size(), 4u);
  });
}

TEST(Session, StartsNoMpiAlone) {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"})
    unsetenv(name);
  Session alone(SessionOptions{});
  EXPECT_EQ(alone.world().name(), "self");
  EXPECT_GE(alone.topology().threads, 1);
}

}  // namespace
}  // namespace quench::testing
