#pragma once

#include <optional>

#include "cluster/collectives.hpp"
#include "tests/support/scratch_directory.hpp"

namespace quench::testing {

// A scratch folder that all ranks know. Collective to make and to destroy.
class SharedDirectory {
 public:
  explicit SharedDirectory(cluster::Communicator& comm) : comm_(comm) {
    if (comm.rank() == 0) own_.emplace();
    path_ = cluster::broadcast_string(comm, 0, own_ ? own_->path().string() : "");
  }
  ~SharedDirectory() {
    if (std::uncaught_exceptions() == 0) comm_.barrier();
  }
  SharedDirectory(const SharedDirectory&) = delete;
  SharedDirectory& operator=(const SharedDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  cluster::Communicator& comm_;
  std::optional<ScratchDirectory> own_;
  std::filesystem::path path_;
};

}  // namespace quench::testing
