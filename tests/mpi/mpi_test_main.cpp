#include "mpi_test_main.hpp"

#include <gtest/gtest.h>

#include <cstdio>
#include <memory>
#include <string>

#include "cluster/collectives.hpp"
#include "cluster/error.hpp"

namespace quench::testing {
namespace {

std::unique_ptr<cluster::Session> the_session;

// Collective at the end of every test: a failure anywhere becomes everybody's.
class AgreeingListener : public ::testing::EmptyTestEventListener {
  void OnTestEnd(const ::testing::TestInfo& info) override {
    const std::uint8_t failed = info.result()->Failed();
    const auto all = cluster::all_gather(session().world(), std::span(&failed, 1));
    std::string ranks;
    for (int r = 0; r < session().world().size(); ++r)
      if (all.values[r]) ranks.append(" ").append(std::to_string(r));
    if (!ranks.empty() && !failed) ADD_FAILURE() << "failed on rank" << ranks;
  }
};

// What ranks other than 0 print: their failures alone.
class FailurePrinter : public ::testing::EmptyTestEventListener {
  void OnTestPartResult(const ::testing::TestPartResult& part) override {
    if (!part.failed()) return;
    std::fprintf(stderr, "[rank %d] %s:%d: %s\n", session().world().rank(),
                 part.file_name() ? part.file_name() : "?", part.line_number(), part.message());
  }
};

int run_tests() {
  auto& world = session().world();
  auto& listeners = ::testing::UnitTest::GetInstance()->listeners();
  if (world.rank() > 0) {
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new FailurePrinter);
  }
  listeners.Append(new AgreeingListener);
  const int code = RUN_ALL_TESTS();
  return cluster::all_reduce_value(world, code, cluster::Op::max);
}

}  // namespace

cluster::Session& session() { return *the_session; }

}  // namespace quench::testing

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  try {
    quench::testing::the_session =
        std::make_unique<quench::cluster::Session>(quench::cluster::SessionOptions{});
    const int code = quench::testing::run_tests();
    quench::testing::the_session.reset();
    return code;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    quench::cluster::Session::abort(static_cast<int>(quench::ExitCode::internal));
  }
}
