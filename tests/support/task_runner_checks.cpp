#include "tests/support/task_runner_checks.hpp"

#include <algorithm>
#include <fstream>
#include <numeric>
#include <thread>

#include "cluster/error.hpp"
#include "cluster/task_runner.hpp"
#include "tests/support/file_size_limit.hpp"
#include "tests/support/shared_directory.hpp"

namespace quench::testing {
namespace {

using namespace cluster;

constexpr std::int64_t kTasks = 20;

// Keys with every cost from 1 to kTasks, not in order.
std::vector<Task> make_tasks() {
  std::vector<Task> tasks;
  for (std::int64_t i = 0; i < kTasks; ++i)
    tasks.push_back({"key " + std::to_string(i), static_cast<double>((7 * i) % kTasks + 1)});
  return tasks;
}

std::string payload_of(std::int64_t task) {
  return std::string("payload\0 ", 9) + std::to_string(task);
}

// One start of a program on the ranks of `comm`.
struct Start {
  Session session;
  StopFlag stop;
  Timers timers;
  Context context;
  std::vector<std::int64_t> runs = std::vector<std::int64_t>(kTasks, 0);  // led by this rank
  std::vector<std::int64_t> order;

  Start(Communicator& comm, const std::filesystem::path& directory, int group_size = 1)
      : session(comm.split(0, comm.rank()), SessionOptions{group_size, 1}),
        context{session, stop, timers, directory, true} {}

  using Work = std::function<std::string(std::int64_t, Communicator&)>;
  TaskResults run(const Work& work = [](std::int64_t i, Communicator&) { return payload_of(i); }) {
    return run_tasks(context, "stage", make_tasks(), [&](std::int64_t i, Communicator& group) {
      if (group.rank() == 0) ++runs[i];
      order.push_back(i);
      return work(i, group);
    });
  }
  // How often each task ran, on all ranks together.
  std::vector<std::int64_t> total_runs() {
    auto total = runs;
    all_reduce_sum(session.world(), std::span(total));
    return total;
  }
};

const std::vector<std::int64_t> once(kTasks, 1);
const std::vector<std::int64_t> never(kTasks, 0);

void expect_all_good(const TaskResults& results) {
  ASSERT_EQ(results.size(), kTasks);
  EXPECT_EQ(results.failures(), 0);
  for (std::int64_t i = 0; i < kTasks; ++i) {
    EXPECT_EQ(results.read(i), payload_of(i));
    EXPECT_EQ(results.failure(i), "");
  }
}

void each_task_once(Communicator& comm) {
  const SharedDirectory scratch(comm);
  Start start(comm, scratch.path());
  const auto results = start.run();
  EXPECT_EQ(start.total_runs(), once);
  expect_all_good(results);
  const auto tasks = make_tasks();
  for (std::size_t i = 1; i < start.order.size(); ++i)
    EXPECT_GT(tasks[start.order[i - 1]].cost, tasks[start.order[i]].cost);
  const auto& timers = start.timers.entries();
  EXPECT_EQ(timers.contains("tasks/stage/work"), !start.order.empty());
  EXPECT_TRUE(timers.contains("tasks/stage/wait"));
  comm.barrier();
}

// Neighbours in cost are drawn together, and told of before; no group is left without.
void bundles_are_told_of_first(Communicator& comm) {
  const SharedDirectory scratch(comm);
  Start start(comm, scratch.path());
  const auto tasks = make_tasks();
  std::vector<std::int64_t> told;
  std::size_t most = 0;
  Bundles bundles;
  bundles.size = 8;
  bundles.begin = [&](std::span<const std::int64_t> bundle) {
    most = std::max(most, bundle.size());
    told.assign(bundle.begin(), bundle.end());
    for (std::size_t i = 1; i < told.size(); ++i)
      EXPECT_EQ(tasks[told[i]].cost, tasks[told[i - 1]].cost - 1);
  };
  const auto results = run_tasks(
      start.context, "stage", tasks,
      [&](std::int64_t i, Communicator&) {
        EXPECT_NE(std::ranges::find(told, i), told.end());
        ++start.runs[i];
        return payload_of(i);
      },
      bundles);
  EXPECT_EQ(start.total_runs(), once);
  expect_all_good(results);
  EXPECT_LE(most, std::min<std::size_t>(8, (kTasks + comm.size() - 1) / comm.size()));
  comm.barrier();
}

void finished_tasks_do_not_run_again(Communicator& comm) {
  const SharedDirectory scratch(comm);
  expect_all_good(Start(comm, scratch.path()).run());
  Start again(comm, scratch.path());
  expect_all_good(again.run());
  EXPECT_EQ(again.total_runs(), never);
  remove_journals(again.context, "stage");
  EXPECT_FALSE(std::filesystem::exists(scratch / "journals/stage"));
  comm.barrier();
  Start afresh(comm, scratch.path());
  expect_all_good(afresh.run());
  EXPECT_EQ(afresh.total_runs(), once);
}

void failed_tasks_are_recorded_and_run_again(Communicator& comm) {
  const SharedDirectory scratch(comm);
  const auto fails = [](std::int64_t i) { return i % 3 == 0; };
  for (int repetition = 0; repetition < 2; ++repetition) {
    Start start(comm, scratch.path());
    const auto results = start.run([&](std::int64_t i, Communicator&) {
      if (i == 3) throw std::runtime_error("standard");
      if (fails(i)) throw DataError("task " + std::to_string(i) + " is bad");
      return payload_of(i);
    });
    EXPECT_EQ(results.failures(), 7);
    for (std::int64_t i = 0; i < kTasks; ++i) {
      const auto message = i == 3 ? "standard" : "task " + std::to_string(i) + " is bad";
      EXPECT_EQ(results.failure(i), fails(i) ? message : "");
      if (fails(i)) {
        EXPECT_THROW((void)results.read(i), InternalError);
      } else {
        EXPECT_EQ(results.read(i), payload_of(i));
      }
    }
    const auto runs = start.total_runs();
    for (std::int64_t i = 0; i < kTasks; ++i) EXPECT_EQ(runs[i], fails(i) || repetition == 0);
    comm.barrier();
  }
  Start good(comm, scratch.path());
  expect_all_good(good.run());
  const auto runs = good.total_runs();
  for (std::int64_t i = 0; i < kTasks; ++i) EXPECT_EQ(runs[i], fails(i));
  Start again(comm, scratch.path());
  expect_all_good(again.run());
  EXPECT_EQ(again.total_runs(), never);
}

// Stopped while the tasks run (by the flag of whichever rank has done three, or by the work), the
// second start does the rest, with one rank less where there are several.
void stop_in_the_middle(Communicator& comm, bool by_the_work) {
  const SharedDirectory scratch(comm);
  std::vector<std::int64_t> first;
  {
    Start start(comm, scratch.path());
    std::string message = "nothing thrown";
    try {
      start.run([&](std::int64_t i, Communicator&) {
        if (start.order.size() == 3 && by_the_work) {
          --start.runs[i];
          throw Stopped("enough");
        }
        if (start.order.size() == 3) start.stop.set_deadline(std::chrono::steady_clock::now());
        return payload_of(i);
      });
    } catch (const Stopped& error) {
      message = error.what();
    }
    first = start.total_runs();
    EXPECT_NE(message.find("of 20 tasks done"), std::string::npos) << message;
  }
  const auto done = std::accumulate(first.begin(), first.end(), std::int64_t{0});
  EXPECT_GE(done, by_the_work ? 2 : 3);
  EXPECT_LT(done, kTasks);
  const bool idle = comm.size() > 1 && comm.rank() == 1;
  const auto fewer = comm.split(idle ? 1 : 0, 0);
  if (!idle) {
    Start start(*fewer, scratch.path());
    expect_all_good(start.run());
    auto both = start.total_runs();
    for (std::int64_t i = 0; i < kTasks; ++i) both[i] += first[i];
    EXPECT_EQ(both, once);
    fewer->barrier();
  }
  comm.barrier();
  Start again(comm, scratch.path());
  expect_all_good(again.run());
  EXPECT_EQ(again.total_runs(), never);
}

void stop_by_the_flag(Communicator& comm) { stop_in_the_middle(comm, false); }
void stop_by_the_work(Communicator& comm) { stop_in_the_middle(comm, true); }

void a_broken_cluster_ends_everything(Communicator& comm) {
  const SharedDirectory scratch(comm);
  Start start(comm, scratch.path());
  EXPECT_THROW(start.run([&](std::int64_t i, Communicator&) -> std::string {
    if (start.order.size() == 2) throw ClusterError("a call failed");
    return payload_of(i);
  }),
               ClusterError);
  comm.barrier();
  Start again(comm, scratch.path());
  expect_all_good(again.run());
}

// The journal of the last rank cannot grow (the others wait until it has a task): all ranks throw,
// and what was journalled is kept.
void full_disk(Communicator& comm) {
  const SharedDirectory scratch(comm);
  std::string message = "nothing thrown";
  std::vector<std::int64_t> first;
  const bool last = comm.rank() == comm.size() - 1;
  const auto begun = scratch / "begun";
  const auto work = [&](std::int64_t i, Communicator&) {
    if (last) std::ofstream(begun).flush();
    while (!std::filesystem::exists(begun)) std::this_thread::yield();
    return payload_of(i) + std::string(30'000, 'x');
  };
  {
    std::optional<FileSizeLimit> full;
    if (last) full.emplace(20'000);
    comm.barrier();
    Start start(comm, scratch.path());
    try {
      start.run(work);
    } catch (const DataError& error) {
      message = error.what();
    }
    first = start.total_runs();
    comm.barrier();
  }
  EXPECT_NE(message.find("journals/stage/r0000"), std::string::npos) << message;
  EXPECT_NE(message.find("File too large"), std::string::npos) << message;
  Start start(comm, scratch.path());
  const auto results = start.run(work);
  EXPECT_EQ(results.failures(), 0);
  const auto second = start.total_runs();
  std::int64_t twice = 0;
  for (std::int64_t i = 0; i < kTasks; ++i) {
    EXPECT_GE(first[i] + second[i], 1);
    twice += first[i] + second[i] - 1;
  }
  EXPECT_GE(twice, 1);  // the record that did not fit, of each rank without room
  EXPECT_LE(twice, comm.size());
}

void no_folder(Communicator& comm) {
  const SharedDirectory scratch(comm);
  if (comm.rank() == 0) std::ofstream(scratch / "file") << "in the way";
  comm.barrier();
  Start start(comm, scratch / "file");
  EXPECT_THROW(start.run(), DataError);
}

// Tasks of the same key share one result.
void equal_keys(Communicator& comm) {
  const SharedDirectory scratch(comm);
  Start start(comm, scratch.path());
  const std::vector<Task> tasks{{"a", 1}, {"b", 2}, {"a", 3}};
  std::int64_t runs = 0;
  const auto results = run_tasks(start.context, "stage", tasks, [&](std::int64_t i, Communicator&) {
    ++runs;
    return tasks[i].key;
  });
  EXPECT_EQ(all_reduce_value(comm, runs, Op::sum), 2);
  EXPECT_EQ(results.size(), 3);
  EXPECT_EQ(results.read(0), "a");
  EXPECT_EQ(results.read(1), "b");
  EXPECT_EQ(results.read(2), "a");
  comm.barrier();
}

void no_tasks(Communicator& comm) {
  const SharedDirectory scratch(comm);
  Start start(comm, scratch.path());
  EXPECT_EQ(run_tasks(start.context, "stage", {}, {}).size(), 0);
}

// A journal of another start with a torn record, and one that is no journal at all.
void damaged_journals(Communicator& comm) {
  const SharedDirectory scratch(comm);
  expect_all_good(Start(comm, scratch.path()).run());
  comm.barrier();
  std::int64_t cut = 0;
  if (comm.rank() == 0) {
    for (const auto& file : std::filesystem::directory_iterator(scratch / "journals/stage")) {
      if (file.file_size() == 0) continue;
      std::filesystem::resize_file(file.path(), file.file_size() - 1);
      ++cut;
    }
    std::ofstream(scratch / "journals/stage/r00009.jnl") << std::string(1000, 'j');
  }
  cut = broadcast_value(comm, 0, cut);
  Start again(comm, scratch.path());
  expect_all_good(again.run());
  const auto runs = again.total_runs();
  EXPECT_EQ(std::accumulate(runs.begin(), runs.end(), std::int64_t{0}), cut);
}

// One group of all ranks: they work together, and what one of them throws is the group's failure.
void groups(Communicator& comm) {
  const SharedDirectory scratch(comm);
  Start start(comm, scratch.path(), comm.size());
  const auto results = start.run([&](std::int64_t i, Communicator& group) {
    const auto sum = all_reduce_value(group, i + group.rank(), Op::sum);
    if (i == 5 && group.rank() == group.size() - 1) throw DataError("the last rank");
    return std::to_string(sum);
  });
  EXPECT_EQ(start.total_runs(), once);
  EXPECT_EQ(start.order.size(), static_cast<std::size_t>(kTasks));
  EXPECT_EQ(results.failures(), 1);
  EXPECT_EQ(results.failure(5), "the last rank");
  const int size = comm.size();
  EXPECT_EQ(results.read(7), std::to_string(7 * size + size * (size - 1) / 2));
  comm.barrier();
}

// A stop that only a member of the group has been told of.
void stop_of_a_member(Communicator& comm) {
  const SharedDirectory scratch(comm);
  Start start(comm, scratch.path(), comm.size());
  EXPECT_THROW(start.run([&](std::int64_t i, Communicator& group) {
    if (start.order.size() == 2 && group.rank() == group.size() - 1)
      start.stop.set_deadline(std::chrono::steady_clock::now());
    return payload_of(i);
  }),
               Stopped);
  EXPECT_EQ(start.order.size(), 2U);
}

}  // namespace

const std::vector<CollectiveCheck>& task_runner_checks() {
  static const std::vector<CollectiveCheck> checks{
      {"EachTaskOnce", each_task_once},
      {"BundlesAreToldOfFirst", bundles_are_told_of_first},
      {"FinishedTasksDoNotRunAgain", finished_tasks_do_not_run_again},
      {"FailedTasksAreRecordedAndRunAgain", failed_tasks_are_recorded_and_run_again},
      {"StopByTheFlag", stop_by_the_flag},
      {"StopByTheWork", stop_by_the_work},
      {"ABrokenClusterEndsEverything", a_broken_cluster_ends_everything},
      {"FullDisk", full_disk},
      {"NoFolder", no_folder},
      {"EqualKeys", equal_keys},
      {"NoTasks", no_tasks},
      {"DamagedJournals", damaged_journals},
      {"Groups", groups},
      {"StopOfAMember", stop_of_a_member},
  };
  return checks;
}

}  // namespace quench::testing
