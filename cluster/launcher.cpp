#include "cluster/launcher.hpp"

#include <cstdlib>
#include <string>

#include "cluster/error.hpp"

namespace quench::cluster {
namespace {

int number(const Environment& environment, const char* name) {
  const char* text = environment(name);
  return text ? std::atoi(text) : 0;
}

constexpr const char* remedy =
    "start with `srun --mpi=pmix quench ...` or `mpirun quench ...` (one that belongs to the MPI "
    "that Quench was built with)";

// Under mpirun Slurm's numbers describe mpirun's own daemons, so they count for srun alone.
int processes_of_step(const Environment& environment) {
  if (const int tasks = number(environment, "SLURM_STEP_NUM_TASKS")) return tasks;
  if (environment("SLURM_STEP_ID")) return number(environment, "SLURM_NTASKS");
  return number(environment, "PMI_SIZE");
}

}  // namespace

Launch detect_launch(const Environment& environment) {
  if (environment("OMPI_COMM_WORLD_SIZE"))
    return {Launcher::mpirun, number(environment, "OMPI_COMM_WORLD_SIZE")};
  if (environment("PMIX_RANK") || environment("PMI_RANK"))
    return {Launcher::srun, processes_of_step(environment)};
  const int tasks = number(environment, "SLURM_NTASKS");
  if (environment("SLURM_PROCID") && tasks > 1)
    throw ConfigError("this is one of " + std::to_string(tasks) +
                      " Slurm tasks, but nothing connects them: " + remedy);
  return {};
}

int launched_rank(const Environment& environment) {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"})
    if (environment(name)) return number(environment, name);
  return 0;
}

void check_launch(const Launch& launch, int mpi_size) {
  if (launch.processes == 0 || launch.processes == mpi_size) return;
  throw ConfigError(std::to_string(launch.processes) + " processes were started, but MPI joins " +
                    std::to_string(mpi_size) + " of them: " + remedy);
}

}  // namespace quench::cluster
