#pragma once

// Inside model/ only: a folder that appears whole.
#include <filesystem>

namespace quench::model {

// A folder `.NAME.partial-HOST-PID` beside the one to be, removed again unless it was published.
// Making one removes what killed processes left there for the same target: those of this machine
// that run no more, those of others after a day without a change. Throws
// std::filesystem::filesystem_error.
class Draft {
 public:
  explicit Draft(const std::filesystem::path& out);  // absolute
  Draft(const Draft&) = delete;
  Draft& operator=(const Draft&) = delete;
  ~Draft();

  const std::filesystem::path& path() const { return path_; }
  // Takes the place of `out`, which is missing, empty or a folder that may go. Throws DataError
  // when it cannot; the older folder stays then.
  void publish();

 private:
  std::filesystem::path out_, path_;
};

}  // namespace quench::model
