#include "cluster/posix.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "cluster/error.hpp"

namespace quench::cluster {

void Descriptor::reset(int value) {
  if (value_ >= 0) ::close(value_);
  value_ = value;
}

void throw_errno(const std::filesystem::path& path, const std::string& what) {
  const int error = errno;
  std::string message = path.string() + ": " + what + ": " + std::generic_category().message(error);
  if (error == ENOSPC || error == EDQUOT || error == EFBIG)
    message += "; free some space or raise the limit, then give the same command again";
  throw DataError(message);
}

Descriptor open_file(const std::filesystem::path& path, int flags) {
  Descriptor file(::open(path.c_str(), flags | O_CLOEXEC, 0666));
  if (!file.valid()) throw_errno(path, "cannot be opened");
  return file;
}

std::int64_t file_bytes(const Descriptor& file, const std::filesystem::path& path) {
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) throw_errno(path, "cannot be examined");
  return status.st_size;
}

void reserve_space(const Descriptor& file, const std::filesystem::path& path, std::int64_t bytes) {
  const auto what = "cannot grow to " + std::to_string(bytes) + " bytes";
  const auto wanted = static_cast<std::uint64_t>(bytes);
  const auto size = file_bytes(file, path);
  if (bytes <= size) return;
  struct rlimit limit {};
  if (::getrlimit(RLIMIT_FSIZE, &limit) == 0 && wanted > limit.rlim_cur) {
    errno = EFBIG;
    throw_errno(path, what);
  }
  if (::fallocate(file.get(), FALLOC_FL_KEEP_SIZE, size, bytes - size) == 0) return;
  if (errno != EOPNOTSUPP && errno != ENOSYS) throw_errno(path, what);
  struct statvfs disk {};
  if (::fstatvfs(file.get(), &disk) == 0 &&
      disk.f_bavail * disk.f_frsize < wanted - static_cast<std::uint64_t>(size)) {
    errno = ENOSPC;
    throw_errno(path, what);
  }
}

void sync_file(const std::filesystem::path& path) {
  const auto file = open_file(path, O_RDONLY);
  if (::fsync(file.get()) != 0) throw_errno(path, "cannot be flushed to disk");
}

void sync_directory(const std::filesystem::path& directory) {
  const auto& path = directory.empty() ? std::filesystem::path(".") : directory;
  const auto file = open_file(path, O_RDONLY | O_DIRECTORY);
  if (::fsync(file.get()) != 0 && errno != EINVAL && errno != EROFS)
    throw_errno(path, "cannot be flushed to disk");
}

}  // namespace quench::cluster
