#pragma once

#include <filesystem>

#include "cluster/posix.hpp"

namespace quench::cluster {

// A lock of one process, taken without waiting, on a file that it makes. It ends with the object or
// the process, however that ends.
class FileLock {
 public:
  FileLock() = default;
  // Throws DataError when the file cannot be made.
  explicit FileLock(const std::filesystem::path& path);
  // False: another process has it. Where the file system knows no locks, nobody is kept away.
  bool held() const { return held_; }

 private:
  Descriptor file_;
  bool held_ = false;
};

}  // namespace quench::cluster
