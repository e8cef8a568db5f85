#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cluster/communicator.hpp"
#include "cluster/launcher.hpp"

namespace quench::cluster {

// What this process was given: hosts, cores, threads; for the manifest and the warning about idle
// cores.
struct Topology {
  int nodes = 1;
  int ranks_on_node = 1;
  int cores_on_node = 1;           // that the node's ranks may use together
  int threads = 1;                 // intra-op threads of this rank
  std::vector<std::string> hosts;  // of each rank
  std::string
      advice;  // empty, or one sentence with the mpirun option that would use the node better
};

// How the ranks of one node are placed on its cores.
struct Placement {
  std::string host;
  Launcher launcher = Launcher::none;
  int ranks = 1;
  int threads = 1;    // of all its ranks
  int bound = 1;      // cores that its ranks may use together
  int available = 1;  // cores that the job could use on this node
};

// Pure. One sentence when a launcher's binding leaves cores idle that the ranks could share out, or
// when more threads run than cores; empty otherwise.
std::string placement_advice(const Placement& placement);

// Pure. The threads of a rank that is bound to the cores `own`, when `ranks_on_core[c]` ranks are
// bound to core c: a core counts as its share, 1 at least.
int fair_threads(std::span<const int> own, std::span<const std::int32_t> ranks_on_core);

// Collective over world. `threads` as in SessionOptions; 0: OMP_NUM_THREADS, else fair_threads.
Topology measure_topology(Communicator& world, Communicator& node, Launcher launcher, int threads);

}  // namespace quench::cluster
