#include "cluster/file_lock.hpp"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>

namespace quench::cluster {

FileLock::FileLock(const std::filesystem::path& path)
    : file_(open_file(path, O_RDWR | O_CREAT | O_CLOEXEC)),
      held_(::flock(file_.get(), LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) {}

}  // namespace quench::cluster
