#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cluster/communicator.hpp"
#include "cluster/device.hpp"
#include "cluster/topology.hpp"
#include "cluster/unwinding.hpp"
#include "cluster/watchdog.hpp"

namespace quench::cluster {

class Timers;

struct SessionOptions {
  int group_size = 1;  // ranks that share one task (a model replica, a factorisation)
  int threads =
      0;  // intra-op threads a rank; 0: its share of the cores that the node's ranks are bound to
};

// Who we are. Starts MPI (MPI_THREAD_MULTIPLE where it is to be had) if the process was launched by
// mpirun or srun, otherwise a self communicator serves. Made once, in main; communicators are made
// in the fixed order world, node, group, leaders.
class Session {
 public:
  // Collective over all launched processes. Throws ConfigError: under Slurm without PMIx (names
  // --mpi=pmix), processes that MPI did not join, a group size that does not divide the world's
  // size. MPI is finalised then.
  explicit Session(const SessionOptions& options);
  // For tests: a session over a given world (threads).
  Session(std::unique_ptr<Communicator> world, const SessionOptions& options);
  // Finalises MPI (collective), unless an exception is in flight.
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  Communicator& world() { return *world_; }
  Communicator& node() { return *node_; }    // ranks that share memory
  Communicator& group() { return *group_; }  // ranks that share a task
  Communicator* leaders() {
    return leaders_.get();
  }  // first rank of each group; null on the others
  const Topology& topology() const { return topology_; }
  const Device& device() const { return device_; }  // where this rank computes; the CPU at first

  // Collective over the world: choose_device() for this session. Returns its note.
  std::string use_device(const std::string& choice);

  // From now on the time of the collectives of all communicators goes to `timers`, which must
  // outlive the session's use. A rank that waits in one of them for longer than `patience` seconds
  // (0: for ever) says so and aborts the job with code 70: a rank that hangs, in a file system say,
  // must not use up the job's allocation. Waiting for others at work does not count
  // (Watchdog::Pause).
  void time_collectives(Timers& timers, double patience = 0);
  Watchdog* watchdog() const { return watchdog_.get(); }  // null: none

  // Ends the job on every rank with this code; for errors that the others cannot know of.
  [[noreturn]] static void abort(int code);

 private:
  void prepare(const SessionOptions& options, Launcher launcher);
  void make_groups(int group_size);
  void end_mpi();

  bool owns_mpi_ = false;
  std::unique_ptr<Communicator> world_, node_, group_, leaders_;
  Topology topology_;
  std::unique_ptr<Watchdog> watchdog_;
  Device device_;
  Unwinding unwinding_;
};

// "Open MPI 4.1.4", "HDF5 1.10.8 (parallel)", with CUDA also its version and NCCL's; for --version
// and the manifest.
std::vector<std::string> library_versions();

}  // namespace quench::cluster
