#include "model/files.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <utility>

#include "cluster/error.hpp"

namespace quench::model {
namespace {

constexpr std::size_t max_transfer = std::size_t{1}
                                     << 30;  // the kernel's limit is just under 2 GiB

}  // namespace

bool is_there(const std::filesystem::path& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

File::File(cluster::Descriptor descriptor, std::filesystem::path path)
    : descriptor_(std::move(descriptor)), path_(std::move(path)) {}

File File::open_to_read(const std::filesystem::path& path) {
  File file(cluster::open_file(path, O_RDONLY | O_NONBLOCK), path);
  struct stat status {};
  if (::fstat(file.descriptor_.get(), &status) != 0)
    cluster::throw_errno(path, "cannot be examined");
  if (!S_ISREG(status.st_mode)) throw DataError(path.string() + ": not a regular file");
  return file;
}

File File::create(const std::filesystem::path& path) {
  return {cluster::open_file(path, O_RDWR | O_CREAT | O_EXCL), path};
}

std::int64_t File::size() const { return cluster::file_bytes(descriptor_, path_); }

void File::read_at(std::int64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const auto got =
        ::pread(descriptor_.get(), out.data(), std::min(out.size(), max_transfer), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) cluster::throw_errno(path_, "cannot be read at byte " + std::to_string(offset));
    if (got == 0)
      throw DataError(path_.string() + ": ends at byte " + std::to_string(offset) + ", " +
                      std::to_string(out.size()) +
                      " bytes more were expected; the file was cut off, fetch it again");
    out = out.subspan(static_cast<std::size_t>(got));
    offset += got;
  }
}

void File::write_at(std::int64_t offset, std::span<const std::byte> data) {
  while (!data.empty()) {
    const auto put =
        ::pwrite(descriptor_.get(), data.data(), std::min(data.size(), max_transfer), offset);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) cluster::throw_errno(path_, "cannot be written at byte " + std::to_string(offset));
    data = data.subspan(static_cast<std::size_t>(put));
    offset += put;
  }
}

void File::finish() {
  if (::fsync(descriptor_.get()) != 0) cluster::throw_errno(path_, "cannot be flushed to disk");
  descriptor_.reset();
}

std::string read_text(const std::filesystem::path& path, std::int64_t limit) {
  const auto file = File::open_to_read(path);
  const auto size = file.size();
  if (size > limit)
    throw DataError(path.string() + ": " + std::to_string(size) + " bytes, at most " +
                    std::to_string(limit) + " are expected");
  std::string text(static_cast<std::size_t>(size), '\0');
  file.read_at(0, std::as_writable_bytes(std::span(text)));
  return text;
}

void write_text(const std::filesystem::path& path, const std::string& text) {
  auto file = File::create(path);
  file.write_at(0, std::as_bytes(std::span(text)));
  file.finish();
}

nlohmann::json read_json_object(const std::filesystem::path& path, std::int64_t limit) {
  const auto text = read_text(path, limit);
  const auto check_depth = [&](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
    if (depth > max_json_depth) throw DataError(path.string() + ": nested too deeply");
    return true;
  };
  try {
    auto json = nlohmann::json::parse(text, check_depth);
    if (!json.is_object()) throw DataError(path.string() + ": not a JSON object");
    return json;
  } catch (const nlohmann::json::parse_error& error) {
    throw DataError(path.string() + ": not JSON at byte " + std::to_string(error.byte) + ": " +
                    error.what());
  } catch (const nlohmann::json::exception& error) {  // a number that no float64 holds
    throw DataError(path.string() + ": cannot be read as JSON: " + error.what());
  }
}

}  // namespace quench::model
