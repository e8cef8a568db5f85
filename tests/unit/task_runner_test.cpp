#include "cluster/task_runner.hpp"

#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>
#include <fstream>

#include "cluster/error.hpp"
#include "cluster/journal.hpp"
#include "tests/support/scratch_directory.hpp"
#include "tests/support/task_runner_checks.hpp"

namespace quench::testing {
namespace {

using namespace cluster;

using LocalTaskRunner = LocalCheck;
TEST_P(LocalTaskRunner, Holds) { run(); }
INSTANTIATE_TEST_SUITE_P(TaskRunner, LocalTaskRunner, local_cases(task_runner_checks()),
                         LocalCheck::name);

const std::vector<Task> tasks{{"a", 5}, {"b", 4}, {"c", 3}, {"d", 2}};

// Runs the tasks alone; tells which of them were worked on.
std::string run_alone(const std::filesystem::path& directory, const std::string& stage = "stage") {
  Session session(make_self_communicator(), SessionOptions{1, 1});
  StopFlag stop;
  Timers timers;
  Context context{session, stop, timers, directory, true};
  std::string worked;
  const auto results = run_tasks(context, stage, tasks, [&](std::int64_t i, Communicator&) {
    worked += tasks[i].key;
    return "payload " + tasks[i].key;
  });
  for (std::size_t i = 0; i < tasks.size(); ++i)
    EXPECT_EQ(results.read(static_cast<std::int64_t>(i)), "payload " + tasks[i].key);
  return worked;
}

class Faults : public ::testing::Test {
 protected:
  void TearDown() override {
    unsetenv("QUENCH_FAULT");
    StopFlag::clear();
  }
  const ScratchDirectory scratch_;
};

TEST_F(Faults, KilledAfterTheSecondRecord) {
  setenv("QUENCH_FAULT", "stage:2:KILL", 1);
  EXPECT_EXIT(run_alone(scratch_.path()), ::testing::KilledBySignal(SIGKILL), "");
  unsetenv("QUENCH_FAULT");
  EXPECT_EQ(run_alone(scratch_.path()), "cd");
}

TEST_F(Faults, StoppedByASignal) {
  StopFlag::install_signal_handlers();
  setenv("QUENCH_FAULT", "stage:3:USR1:0", 1);
  try {
    run_alone(scratch_.path());
    ADD_FAILURE() << "nothing thrown";
  } catch (const Stopped& error) {
    EXPECT_NE(std::string(error.what()).find("SIGUSR1"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("3 of 4 tasks"), std::string::npos) << error.what();
  }
  StopFlag::clear();
  EXPECT_EQ(run_alone(scratch_.path()), "d");
}

TEST_F(Faults, OfAnotherStageOrRankAreNone) {
  setenv("QUENCH_FAULT", "other:1:KILL", 1);
  EXPECT_EQ(run_alone(scratch_.path()), "abcd");
  setenv("QUENCH_FAULT", "second:1:KILL:1", 1);
  EXPECT_EQ(run_alone(scratch_.path(), "second"), "abcd");
}

TEST_F(Faults, MustBeUnderstood) {
  for (const char* text : {"stage", "stage:1", "stage:x:KILL", "stage:1:NONE", "stage:1:KILL:x"}) {
    setenv("QUENCH_FAULT", text, 1);
    EXPECT_THROW(run_alone(scratch_.path()), ConfigError) << text;
  }
}

// The stop comes when everything is done already.
TEST_F(Faults, AStopAfterTheLastTaskIsNone) {
  StopFlag::install_signal_handlers();
  setenv("QUENCH_FAULT", "late:4:TERM", 1);
  EXPECT_EQ(run_alone(scratch_.path(), "late"), "abcd");
}

// A good record stays although a later file has a failed one of its key.
TEST(TaskRunner, GoodRecordsOutweighFailedOnes) {
  const ScratchDirectory scratch;
  std::filesystem::create_directories(scratch / "journals/stage");
  JournalWriter(scratch / "journals/stage/r00000.jnl").append("+a", "payload a");
  JournalWriter second(scratch / "journals/stage/r00001.jnl");
  second.append("-a", "message");
  second.append("-b", "message");
  second.append("+b", "payload b");
  EXPECT_EQ(run_alone(scratch.path()), "cd");
}

TEST(TaskRunner, ADamagedResultIsTold) {
  const ScratchDirectory scratch;
  Session session(make_self_communicator(), SessionOptions{1, 1});
  StopFlag stop;
  Timers timers;
  Context context{session, stop, timers, scratch.path(), true};
  const auto results =
      run_tasks(context, "stage", tasks, [](std::int64_t, Communicator&) { return "payload"; });
  std::fstream file(scratch / "journals/stage/r00000.jnl", std::ios::in | std::ios::out);
  file.seekp(23);
  file << '?';
  file.close();
  EXPECT_THROW((void)results.read(0), DataError);
  EXPECT_EQ(results.read(3), "payload");
}

TEST(TaskRunner, ShowsProgress) {
  const ScratchDirectory scratch;
  Session session(make_self_communicator(), SessionOptions{1, 1});
  StopFlag stop;
  Timers timers;
  Context context{session, stop, timers, scratch.path(), false};
  ::testing::internal::CaptureStderr();
  run_tasks(context, "stage", tasks, [](std::int64_t, Communicator&) { return ""; });
  const auto text = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(text.find("stage: 0/4\n"), 0U) << text;
  EXPECT_NE(text.find("stage: 4/4, "), std::string::npos) << text;
}

}  // namespace
}  // namespace quench::testing
