#include "model/draft.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <string>
#include <string_view>
#include <vector>

#include "cluster/error.hpp"
#include "cluster/fault.hpp"
#include "cluster/posix.hpp"

namespace quench::model {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view replaced = "-old";  // the folder that a draft takes the place of
constexpr auto patience = std::chrono::hours(24);

std::string host() {
  std::array<char, 256> name{};
  ::gethostname(name.data(), name.size() - 1);
  return name.data();
}

std::string prefix_of(const fs::path& out) { return "." + out.filename().string() + ".partial-"; }

bool changed_lately(const fs::path& folder) {
  auto newest = fs::last_write_time(folder);
  for (const auto& entry : fs::directory_iterator(folder))
    newest = std::max(newest, entry.last_write_time());
  return newest + patience > fs::file_time_type::clock::now();
}

// Whether the process that made a folder "HOST-PID" or "HOST-PID-old" may still be at it.
bool is_in_use(const fs::path& folder, std::string_view maker) {
  if (maker.ends_with(replaced)) maker.remove_suffix(replaced.size());
  const auto dash = std::min(maker.rfind('-'), maker.size());
  const auto digits = maker.substr(std::min(dash + 1, maker.size()));
  ::pid_t pid = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), pid);
  if (maker.substr(0, dash) != host() || pid <= 0) return changed_lately(folder);
  return pid != ::getpid() && (::kill(pid, 0) == 0 || errno != ESRCH);
}

// An older export that was moved aside and not yet replaced is all that its owner has: it stays
// until a new one stands in its place.
void remove_leftovers(const fs::path& out) {
  const auto prefix = prefix_of(out);
  std::vector<fs::path> leftovers;
  for (const auto& entry : fs::directory_iterator(out.parent_path())) {
    const auto name = entry.path().filename().string();
    if (!name.starts_with(prefix) || !entry.is_directory()) continue;
    if (name.ends_with(replaced) && !fs::exists(out)) continue;
    if (!is_in_use(entry.path(), std::string_view(name).substr(prefix.size())))
      leftovers.push_back(entry.path());
  }
  for (const auto& leftover : leftovers) fs::remove_all(leftover);
}

}  // namespace

Draft::Draft(const fs::path& out)
    : out_(out),
      path_(out.parent_path() / (prefix_of(out) + host() + "-" + std::to_string(::getpid()))) {
  remove_leftovers(out_);
  fs::create_directory(path_);
}

Draft::~Draft() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

void Draft::publish() {
  cluster::Fault(out_.filename().string(), 0).after_record();
  cluster::sync_directory(path_);
  if (!fs::exists(out_) || fs::is_empty(out_)) {
    fs::rename(path_, out_);
  } else {
    auto old = path_;
    old += replaced;
    fs::rename(out_, old);
    std::error_code error;
    fs::rename(path_, out_, error);
    if (error) {
      fs::rename(old, out_);
      throw DataError(out_.string() + ": cannot be replaced: " + error.message());
    }
    fs::remove_all(old);
  }
  cluster::sync_directory(out_.parent_path());
}

}  // namespace quench::model
