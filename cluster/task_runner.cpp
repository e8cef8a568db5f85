#include "cluster/task_runner.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <memory>
#include <numeric>
#include <sstream>
#include <string_view>
#include <unordered_map>

#include "cluster/collectives.hpp"
#include "cluster/error.hpp"
#include "cluster/fault.hpp"
#include "cluster/journal.hpp"
#include "cluster/progress.hpp"

namespace quench::cluster {

namespace fs = std::filesystem;

namespace {

// A journalled key is one of these and the task's key; the payload is what `work` returned, or the
// message of what it threw.
constexpr char kGood = '+';
constexpr char kFailed = '-';

// Finished tasks, as ranks tell one another: four numbers each.
class FinishedList {
 public:
  struct Item {
    std::int64_t task, journal, offset, failed;
  };

  void add(const Item& item) {
    numbers_.insert(numbers_.end(), {item.task, item.journal, item.offset, item.failed});
  }
  // Collective. Those of all ranks, in rank order.
  std::vector<Item> gather(Communicator& comm) const {
    const auto all = all_gather<std::int64_t>(comm, numbers_).values;
    std::vector<Item> items;
    for (std::size_t i = 0; i < all.size(); i += 4)
      items.push_back({all[i], all[i + 1], all[i + 2], all[i + 3]});
    return items;
  }

 private:
  std::vector<std::int64_t> numbers_;
};

std::string name_of(const Task& task, std::int64_t number) {
  return task.label.empty() ? "task " + std::to_string(number) : task.label;
}

// How an attempt at a task ended; within a group the last of these kinds counts.
struct Ending {
  enum class Kind : std::int32_t { good, failed, stopped, broken };
  Kind kind = Kind::good;
  std::string text;  // payload or message
};

fs::path journal_directory(const Context& context, const std::string& stage) {
  return context.run_directory / "journals" / stage;
}

fs::path journal_of(const fs::path& directory, std::int64_t rank) {
  auto digits = std::to_string(rank);
  digits.insert(0, 5 - std::min<std::size_t>(5, digits.size()), '0');
  return directory / ("r" + digits + ".jnl");
}

// The journals that earlier starts left, on rank 0.
std::string list_journals(const fs::path& directory) {
  std::vector<std::string> names;
  for (const auto& file : fs::directory_iterator(directory))
    if (file.path().extension() == ".jnl") names.push_back(file.path().filename().string());
  std::sort(names.begin(), names.end());
  std::string lines;
  for (const auto& name : names) lines += name + '\n';
  return lines;
}

}  // namespace

class TaskRun {
 public:
  TaskRun(Context& context, const std::string& stage, std::span<const Task> tasks,
          const std::function<std::string(std::int64_t, Communicator&)>& work,
          const Bundles& bundles);
  TaskResults run();

 private:
  bool leads() const { return context_.session.leaders() != nullptr; }
  void index_tasks();
  void index_earlier_starts();
  void draw_tasks();
  void run_drawn(TicketCounter* tickets);
  std::int64_t next_ticket(TicketCounter* tickets);
  std::int64_t groups() const { return world_.size() / group_.size(); }
  void run_bundle(std::int64_t ticket);
  Ending attempt(std::int64_t task);
  void run_one(std::int64_t task);
  void record(std::int64_t task, const Ending& ending);
  void adopt(const FinishedList::Item& item, const fs::path& journal);
  void share_endings();
  std::int64_t count_open() const;

  Context& context_;
  Communicator& world_;
  Communicator& group_;
  std::string stage_;
  std::span<const Task> tasks_;
  const std::function<std::string(std::int64_t, Communicator&)>& work_;
  const Bundles& bundles_;
  std::int64_t bundle_size_ = 1;
  fs::path directory_;
  Fault fault_;

  std::unordered_map<std::string_view, std::int64_t> task_of_key_;
  std::vector<std::int64_t>
      first_of_;  // the first task with task i's key; it stands for all of them
  std::vector<std::int64_t> remaining_;
  std::vector<TaskResults::Entry> entries_;  // no journal: not finished

  std::unique_ptr<JournalWriter> journal_;  // of a leader
  FinishedList fresh_;
  std::exception_ptr fatal_;
  bool stopped_ = false;
};

TaskRun::TaskRun(Context& context, const std::string& stage, std::span<const Task> tasks,
                 const std::function<std::string(std::int64_t, Communicator&)>& work,
                 const Bundles& bundles)
    : context_(context),
      world_(context.session.world()),
      group_(context.session.group()),
      stage_(stage),
      tasks_(tasks),
      work_(work),
      bundles_(bundles),
      directory_(journal_directory(context, stage)),
      fault_(stage, world_.rank()) {}

TaskResults TaskRun::run() {
  index_tasks();
  index_earlier_starts();
  if (!remaining_.empty()) draw_tasks();
  TaskResults results;
  for (const auto first : first_of_) results.entries_.push_back(entries_[first]);
  return results;
}

void TaskRun::index_tasks() {
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(tasks_.size()); ++i)
    first_of_.push_back(task_of_key_.emplace(tasks_[i].key, i).first->second);
  entries_.resize(tasks_.size());
}

// Good results stay; of others the later one counts.
void TaskRun::adopt(const FinishedList::Item& item, const fs::path& journal) {
  auto& entry = entries_[item.task];
  if (entry.journal.empty() || entry.failed) entry = {journal, item.offset, item.failed != 0};
}

void TaskRun::index_earlier_starts() {
  std::string lines;
  agree(world_, [&] {
    if (world_.rank() != 0) return;
    std::error_code error;
    fs::create_directories(directory_, error);
    if (error) throw DataError(directory_.string() + ": cannot be made: " + error.message());
    lines = list_journals(directory_);
  });
  std::vector<fs::path> journals;
  std::istringstream names(broadcast_string(world_, 0, lines));
  for (std::string name; std::getline(names, name);) journals.push_back(directory_ / name);

  FinishedList found;
  agree(world_, [&] {
    for (std::size_t j = world_.rank(); j < journals.size(); j += world_.size())
      for (const auto& [key, offset, bytes] : scan_journal(journals[j])) {
        const auto task = task_of_key_.find(std::string_view(key).substr(1));
        if (task != task_of_key_.end())
          found.add({task->second, static_cast<std::int64_t>(j), offset, key[0] == kFailed});
      }
  });
  for (const auto& item : found.gather(world_)) adopt(item, journals[item.journal]);

  for (std::int64_t i = 0; i < static_cast<std::int64_t>(tasks_.size()); ++i)
    if (first_of_[i] == i && (entries_[i].journal.empty() || entries_[i].failed))
      remaining_.push_back(i);
  std::stable_sort(remaining_.begin(), remaining_.end(),
                   [&](auto a, auto b) { return tasks_[a].cost > tasks_[b].cost; });
  for (const auto task : remaining_) entries_[task] = {};
}

void TaskRun::draw_tasks() {
  agree(world_, [&] {
    if (leads()) journal_ = std::make_unique<JournalWriter>(journal_of(directory_, world_.rank()));
  });
  const auto distinct = static_cast<std::int64_t>(task_of_key_.size());
  const auto open_before = static_cast<std::int64_t>(remaining_.size());
  const auto before = distinct - open_before;
  bundle_size_ = std::min(bundles_.size, (open_before + groups() - 1) / groups());
  Progress progress(world_.rank() == 0 && !context_.quiet, stage_, distinct);
  progress.update(before);
  {
    std::unique_ptr<TicketCounter> tickets;
    if (auto* leaders = context_.session.leaders())
      // Whoever asks again has finished its task before: all but one a group are done.
      tickets = leaders->tickets(
          (open_before + bundle_size_ - 1) / bundle_size_, [&](std::int64_t handed_out) {
            progress.update(before +
                            bundle_size_ * std::max<std::int64_t>(0, handed_out - groups()));
          });
    run_drawn(tickets.get());
  }
  {
    const auto waiting = context_.timers.scope("tasks/" + stage_ + "/wait");
    const Watchdog::Pause others_work(context_.session.watchdog());
    agree(world_, [&] {
      if (fatal_) std::rethrow_exception(fatal_);
    });
  }
  share_endings();
  const auto open = count_open();
  progress.update(distinct - open);
  if (open == 0) return;
  const auto stopped = [&](const std::string& how) {
    Stopped error(how);
    error.mark_agreed();  // all ranks count the same
    return error;
  };
  throw stopped(stage_ + ": stopped (" +
                (context_.stop.requested() ? context_.stop.reason() : "asked of another rank") +
                ") with " + std::to_string(distinct - open) + " of " + std::to_string(distinct) +
                " tasks done; the same command goes on");
}

// What is fatal is kept for the end, where all ranks learn of it; until then nobody may be left
// waiting for tickets.
void TaskRun::run_drawn(TicketCounter* tickets) {
  try {
    for (auto ticket = next_ticket(tickets); ticket >= 0; ticket = next_ticket(tickets))
      run_bundle(ticket);
  } catch (const Error&) {
    fatal_ = std::current_exception();
  }
  if (fatal_ && tickets != nullptr) tickets->close();
}

// The same on all ranks of the group; negative when this group is to end.
std::int64_t TaskRun::next_ticket(TicketCounter* tickets) {
  const auto waiting = context_.timers.scope("tasks/" + stage_ + "/wait");
  stopped_ = any_of(group_, stopped_ || context_.stop.requested());
  std::int64_t ticket = -1;
  if (tickets != nullptr) {
    if (stopped_) tickets->close();
    if (!stopped_ && !fatal_) ticket = tickets->next().value_or(-1);
  }
  return broadcast_value(group_, 0, ticket);
}

// `work` and what the group agrees on about it.
Ending TaskRun::attempt(std::int64_t task) {
  using Kind = Ending::Kind;
  const auto working = context_.timers.scope("tasks/" + stage_ + "/work");
  Ending ending;
  try {
    ending.text = work_(task, group_);
  } catch (const Stopped& error) {
    ending = {Kind::stopped, error.what()};
  } catch (const ClusterError& error) {
    ending = {Kind::broken, error.what()};
  } catch (const std::exception& error) {
    ending = {Kind::failed, error.what()};
  }
  const auto mine = static_cast<std::int32_t>(ending.kind);
  const auto worst = all_reduce_value(group_, mine, Op::max);
  if (worst == static_cast<std::int32_t>(Kind::good)) return ending;
  const auto speaker =
      all_reduce_value(group_, mine == worst ? group_.rank() : group_.size(), Op::min);
  return {static_cast<Kind>(worst), broadcast_string(group_, speaker, ending.text)};
}

void TaskRun::run_bundle(std::int64_t ticket) {
  const auto first = ticket * bundle_size_;
  const auto all = std::span<const std::int64_t>(remaining_).subspan(first);
  const auto tasks = all.first(std::min<std::size_t>(bundle_size_, all.size()));
  if (bundles_.begin) {
    const auto working = context_.timers.scope("tasks/" + stage_ + "/work");
    bundles_.begin(tasks);
  }
  for (const auto task : tasks) {
    if (stopped_ || fatal_) return;
    run_one(task);
  }
}

void TaskRun::run_one(std::int64_t task) {
  const auto ending = attempt(task);
  if (ending.kind == Ending::Kind::stopped) {
    stopped_ = true;
  } else if (ending.kind == Ending::Kind::broken) {
    fatal_ = std::make_exception_ptr(ClusterError(ending.text));
  } else if (journal_) {
    try {
      record(task, ending);
    } catch (const Error&) {
      fatal_ = std::current_exception();
    }
  }
}

void TaskRun::record(std::int64_t task, const Ending& ending) {
  const bool failed = ending.kind == Ending::Kind::failed;
  const auto& key = tasks_[task].key;
  const auto offset = journal_->append((failed ? kFailed : kGood) + key, ending.text);
  fresh_.add({task, world_.rank(), offset, failed});
  if (failed)
    spdlog::warn("{}: {} (key {}) failed: {}", stage_, name_of(tasks_[task], task), key,
                 ending.text);
  fault_.after_record();
}

void TaskRun::share_endings() {
  for (const auto& item : fresh_.gather(world_)) adopt(item, journal_of(directory_, item.journal));
}

std::int64_t TaskRun::count_open() const {
  return std::count_if(remaining_.begin(), remaining_.end(),
                       [&](auto task) { return entries_[task].journal.empty(); });
}

std::string TaskResults::read(std::int64_t i) const {
  const auto& entry = entries_.at(i);
  if (entry.failed) throw InternalError("the result of a failed task is asked for: " + failure(i));
  return read_journal(entry.journal, entry.offset);
}

std::string TaskResults::failure(std::int64_t i) const {
  const auto& entry = entries_.at(i);
  return entry.failed ? read_journal(entry.journal, entry.offset) : std::string();
}

std::int64_t TaskResults::failures() const {
  return std::count_if(entries_.begin(), entries_.end(),
                       [](const Entry& entry) { return entry.failed; });
}

TaskResults run_tasks(Context& context, const std::string& stage, std::span<const Task> tasks,
                      const std::function<std::string(std::int64_t, Communicator&)>& work,
                      const Bundles& bundles) {
  return TaskRun(context, stage, tasks, work, bundles).run();
}

void remove_journals(Context& context, const std::string& stage) {
  agree(context.world(), [&] {
    if (!context.is_root()) return;
    std::error_code error;
    fs::remove_all(journal_directory(context, stage), error);
    if (error)
      throw DataError(journal_directory(context, stage).string() +
                      ": cannot be removed: " + error.message());
  });
}

}  // namespace quench::cluster
