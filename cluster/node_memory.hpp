#pragma once

#include <cstdint>
#include <string>

// Where Open MPI keeps what the ranks of a node share: files of a memory file system. Local.
namespace quench::cluster {

struct SharedFolder {
  std::string path;
  std::int64_t room = 0;  // bytes free there; the largest int64 when nothing can be found out
};
// OMPI_MCA_osc_sm_backing_directory, or /dev/shm.
SharedFolder shared_folder();

// Before MPI starts. A container's /dev/shm may have 64 MB: where it has less than 1 GiB and the
// folder for temporary files has more, that one is taken. A setting of the user's stays.
void choose_shared_folder();

// Throws ConfigError, with both numbers and the remedies, when the folder has no room for so many
// bytes.
void check_shared_room(const SharedFolder& folder, std::int64_t bytes);

}  // namespace quench::cluster
