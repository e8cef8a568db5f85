#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>

#include "cluster/posix.hpp"

namespace quench::model {

// Whether something is there, or cannot be looked at: then opening it tells why.
bool is_there(const std::filesystem::path& path);

// An open regular file. Every failure is a DataError with the path and the system's own text.
class File {
 public:
  // Refuses what is not a regular file (a pipe would block).
  static File open_to_read(const std::filesystem::path& path);
  // Must not exist yet.
  static File create(const std::filesystem::path& path);

  std::int64_t size() const;
  // Fills `out` from `offset` on; a file that ends earlier is an error.
  void read_at(std::int64_t offset, std::span<std::byte> out) const;
  void write_at(std::int64_t offset, std::span<const std::byte> data);
  // Flushes to the disk and closes; a full disk may first be told here.
  void finish();

  const std::filesystem::path& path() const { return path_; }

 private:
  File(cluster::Descriptor descriptor, std::filesystem::path path);
  cluster::Descriptor descriptor_;
  std::filesystem::path path_;
};

// The whole text of a file of at most `limit` bytes. Throws DataError.
std::string read_text(const std::filesystem::path& path, std::int64_t limit);

// Creates a file with this text and flushes it to the disk. Throws DataError.
void write_text(const std::filesystem::path& path, const std::string& text);

inline constexpr int max_json_depth = 32;  // of JSON that others wrote

// A JSON object of at most `limit` bytes and a nesting of at most max_json_depth. Throws DataError
// with the byte offset when it is no JSON, and when it is no object or has a number too large.
nlohmann::json read_json_object(const std::filesystem::path& path, std::int64_t limit);

}  // namespace quench::model
