#include "cluster/session.hpp"

#include <hdf5.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>

#include "cluster/error.hpp"
#include "cluster/mpi_handle.hpp"
#include "cluster/node_memory.hpp"
#include "cluster/timed_communicator.hpp"

namespace quench::cluster {
namespace {

bool mpi_is_running() {
  int started = 0, ended = 0;
  MPI_Initialized(&started);
  MPI_Finalized(&ended);
  return started && !ended;
}

void start_mpi() {
  choose_shared_folder();
  int provided = MPI_THREAD_SINGLE;
  check_mpi(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &provided), "MPI_Init_thread");
  check_mpi(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
}

}  // namespace

Session::Session(const SessionOptions& options) {
  const auto launch = detect_launch([](const char* name) { return std::getenv(name); });
  if (launch.launcher == Launcher::none) {
    world_ = make_self_communicator();
    prepare(options, launch.launcher);
    return;
  }
  start_mpi();
  owns_mpi_ = true;
  try {
    world_ = make_mpi_communicator(MPI_COMM_WORLD);
    check_launch(launch, world_->size());
    prepare(options, launch.launcher);
  } catch (const ConfigError&) {
    end_mpi();  // every rank is here: they all see the same configuration
    throw;
  }
}

Session::Session(std::unique_ptr<Communicator> world, const SessionOptions& options)
    : world_(std::move(world)) {
  prepare(options, Launcher::none);
}

Session::~Session() {
  if (!unwinding_) end_mpi();
}

void Session::prepare(const SessionOptions& options, Launcher launcher) {
  if (options.group_size < 1 || world_->size() % options.group_size != 0)
    throw ConfigError("group_size = " + std::to_string(options.group_size) +
                      " does not divide the " + std::to_string(world_->size()) +
                      " ranks: choose a divisor");
  if (options.threads < 0)
    throw ConfigError("threads = " + std::to_string(options.threads) + " is negative");
  node_ = world_->split_by_node();
  make_groups(options.group_size);
  topology_ = measure_topology(*world_, *node_, launcher, options.threads);
}

void Session::time_collectives(Timers& timers, double patience) {
  if (patience > 0 && world_->size() > 1) {
    const auto place =
        "rank " + std::to_string(world_->rank()) + " on " + topology_.hosts[world_->rank()] + ": ";
    watchdog_ = std::make_unique<Watchdog>(
        std::chrono::duration<double>(patience), [place](const std::string& text) {
          spdlog::error("{}{}; run.watchdog ends the job", place, text);
          abort(static_cast<int>(ExitCode::internal));
        });
  }
  for (auto* communicator : {&world_, &node_, &group_, &leaders_})
    if (*communicator)
      *communicator = make_timed(std::move(*communicator), timers, watchdog_.get());
}

std::string Session::use_device(const std::string& choice) {
  auto decision = choose_device(*world_, *node_, topology_.hosts[world_->rank()], choice);
  device_ = std::move(decision.device);
  return decision.note;
}

void Session::make_groups(int group_size) {
  const int rank = world_->rank();
  group_ = world_->split(rank / group_size, rank);
  const bool leads = group_->rank() == 0;
  leaders_ = world_->split(leads ? 0 : 1, rank);
  if (!leads) leaders_.reset();
}

void Session::end_mpi() {
  leaders_.reset();
  group_.reset();
  node_.reset();
  world_.reset();
  if (!owns_mpi_ || !mpi_is_running()) return;
  join_ticket_servers();
  MPI_Finalize();
}

void Session::abort(int code) {
  spdlog::default_logger()->flush();
  std::fflush(nullptr);
  if (mpi_is_running()) MPI_Abort(MPI_COMM_WORLD, code);
  std::_Exit(code);
}

std::vector<std::string> library_versions() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int length = 0;
  MPI_Get_library_version(text.data(), &length);
  std::string mpi(text.data(), length);  // "Open MPI v4.1.4, package: ..."
  mpi.resize(std::min(mpi.size(), mpi.find_first_of(",\n")));
  if (const auto v = mpi.find(" v"); v != std::string::npos) mpi.erase(v + 1, 1);
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  std::vector<std::string> versions{mpi, "HDF5 " + std::to_string(major) + "." +
                                             std::to_string(minor) + "." + std::to_string(release) +
                                             " (parallel)"};
  for (auto& version : device_library_versions()) versions.push_back(std::move(version));
  return versions;
}

}  // namespace quench::cluster
