#pragma once

#include <functional>

namespace quench::cluster {

enum class Launcher { none, mpirun, srun };

// How this process was started, as its environment tells.
struct Launch {
  Launcher launcher = Launcher::none;
  int processes = 0;  // that the launcher started; 0 where it need not be compared with MPI's size
};

using Environment = std::function<const char*(const char* name)>;

// Pure. Throws ConfigError (naming `srun --mpi=pmix` and mpirun) for a Slurm task among several
// that was given no way to reach the others.
Launch detect_launch(const Environment& environment);

// This process's number among those that the launcher started, before MPI has said it; 0 alone.
// Pure.
int launched_rank(const Environment& environment);

// Throws ConfigError with both numbers when MPI joined another number of processes than the
// launcher started.
void check_launch(const Launch& launch, int mpi_size);

}  // namespace quench::cluster
