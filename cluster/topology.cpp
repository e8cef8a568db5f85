#include "cluster/topology.hpp"

#include <sched.h>
#include <spdlog/fmt/fmt.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <set>

#include "cluster/collectives.hpp"

namespace quench::cluster {
namespace {

constexpr int most_cpus = 8192;  // as Linux itself allows
using CpuMask = std::array<cpu_set_t, most_cpus / CPU_SETSIZE>;

// Empty where the kernel does not tell.
std::vector<int> bound_cpus() {
  CpuMask mask{};
  std::vector<int> cpus;
  if (sched_getaffinity(0, sizeof mask, mask.data()) != 0) return cpus;
  for (int cpu = 0; cpu < most_cpus; ++cpu)
    if (CPU_ISSET_S(cpu, sizeof mask, mask.data())) cpus.push_back(cpu);
  return cpus;
}

// What the thread could be bound to: asks for everything, looks what the kernel (cpuset) grants,
// and goes back.
std::vector<int> grantable_cpus() {
  CpuMask before{}, all{};
  if (sched_getaffinity(0, sizeof before, before.data()) != 0) return {};
  std::memset(all.data(), 0xff, sizeof all);
  if (sched_setaffinity(0, sizeof all, all.data()) != 0) return bound_cpus();
  auto cpus = bound_cpus();
  sched_setaffinity(0, sizeof before, before.data());
  return cpus;
}

// Hardware threads of one core count as one: a core is named by its first one.
std::vector<int> cores_of(const std::vector<int>& cpus) {
  std::set<int> cores;
  for (const int cpu : cpus) {
    std::ifstream siblings(
        fmt::format("/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list", cpu));
    int first = cpu;
    if (!(siblings >> first)) first = cpu;
    cores.insert(first);
  }
  return {cores.begin(), cores.end()};
}

// Slurm may grant fewer CPUs than the kernel lets the job use.
int available_cores() {
  const auto cpus = grantable_cpus();
  const int cores = std::max<int>(1, static_cast<int>(cores_of(cpus).size()));
  const char* granted = std::getenv("SLURM_CPUS_ON_NODE");
  if (granted == nullptr || cpus.empty()) return cores;
  const auto cpus_a_core = static_cast<double>(cpus.size()) / cores;
  return std::clamp(static_cast<int>(std::atoi(granted) / cpus_a_core), 1, cores);
}

std::vector<std::string> all_hosts(Communicator& world) {
  std::array<char, 256> name{};
  gethostname(name.data(), name.size() - 1);
  const std::string own(name.data());
  const auto all = all_gather(world, std::span<const char>(own));
  std::vector<std::string> hosts;
  hosts.reserve(world.size());
  for (int r = 0; r < world.size(); ++r) hosts.emplace_back(all.of(r).begin(), all.of(r).end());
  return hosts;
}

int threads_asked_for(int option) {
  if (option > 0) return option;
  const char* text = std::getenv("OMP_NUM_THREADS");
  return text ? std::atoi(text) : 0;  // of a list such as "4,2" the first, outer level
}

}  // namespace

std::string placement_advice(const Placement& p) {
  const int each = p.available / p.ranks;
  const bool more_to_share = p.bound < p.available && each > p.bound / p.ranks;
  const auto idle = fmt::format("{} leaves {} of its {} cores idle: start with ", p.host,
                                p.available - p.bound, p.available);
  if (more_to_share && p.launcher == Launcher::mpirun)
    return idle + fmt::format("`mpirun --map-by slot:PE={}` (or `--bind-to none`)", each);
  if (more_to_share && p.launcher == Launcher::srun)
    return idle + fmt::format("`srun --cpus-per-task={}` (or `--cpu-bind=none`)", each);
  if (p.threads <= p.bound) return "";
  const auto crowded = fmt::format("{} runs {} threads on {} cores: ", p.host, p.threads, p.bound);
  if (p.ranks > p.bound) return crowded + fmt::format("start at most {} ranks a node", p.bound);
  return crowded + fmt::format("give each rank {} (OMP_NUM_THREADS)", p.bound / p.ranks);
}

int fair_threads(std::span<const int> own, std::span<const std::int32_t> ranks_on_core) {
  double share = 0;
  for (const int core : own) share += 1.0 / ranks_on_core[core];
  return std::max(1, static_cast<int>(share + 1e-6));  // thirds add up to a little below 1
}

Topology measure_topology(Communicator& world, Communicator& node, Launcher launcher, int threads) {
  Topology topology;
  topology.hosts = all_hosts(world);
  topology.nodes = all_reduce_value(world, std::int32_t{node.rank() == 0}, Op::sum);
  topology.ranks_on_node = node.size();

  const auto own = cores_of(bound_cpus());
  std::vector<std::int32_t> ranks_on_core(most_cpus, 0);
  for (const int core : own) ranks_on_core[core] = 1;
  all_reduce_sum(node, std::span<std::int32_t>(ranks_on_core));
  const auto bound = std::ranges::count_if(ranks_on_core, [](auto ranks) { return ranks > 0; });
  topology.cores_on_node = std::max(1, static_cast<int>(bound));

  const int asked = threads_asked_for(threads);
  topology.threads = asked > 0 ? asked : fair_threads(own, ranks_on_core);
  topology.advice = placement_advice({.host = topology.hosts[world.rank()],
                                      .launcher = launcher,
                                      .ranks = node.size(),
                                      .threads = all_reduce_value(node, topology.threads, Op::sum),
                                      .bound = topology.cores_on_node,
                                      .available = available_cores()});
  return topology;
}

}  // namespace quench::cluster
