#include "cluster/node_memory.hpp"

#include <sys/statvfs.h>

#include <cstdlib>
#include <filesystem>
#include <limits>

#include "cluster/error.hpp"

namespace quench::cluster {

namespace {

constexpr const char* setting = "OMPI_MCA_osc_sm_backing_directory";

std::int64_t room_in(const std::string& directory) {
  struct statvfs status {};
  if (statvfs(directory.c_str(), &status) != 0) return std::numeric_limits<std::int64_t>::max();
  return static_cast<std::int64_t>(status.f_bavail * status.f_frsize);
}

}  // namespace

SharedFolder shared_folder() {
  const char* chosen = std::getenv(setting);
  const std::string path = chosen != nullptr ? chosen : "/dev/shm";
  return {path, room_in(path)};
}

void choose_shared_folder() {
  constexpr std::int64_t enough = std::int64_t{1} << 30;
  const auto usual = shared_folder();
  if (std::getenv(setting) != nullptr || usual.room >= enough) return;
  std::error_code none;
  const auto other = std::filesystem::temp_directory_path(none).string();
  if (!none && room_in(other) > usual.room) setenv(setting, other.c_str(), /*overwrite=*/0);
}

void check_shared_room(const SharedFolder& folder, std::int64_t bytes) {
  if (bytes <= folder.room) return;
  throw ConfigError("no room for " + std::to_string(bytes) + " bytes of node-shared memory: " +
                    folder.path + " has " + std::to_string(folder.room) +
                    " bytes free; enlarge it (docker run --shm-size), or name another folder of "
                    "the node in " +
                    setting);
}

}  // namespace quench::cluster
