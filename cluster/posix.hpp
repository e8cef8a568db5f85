#pragma once

// Inside cluster/ and model/: file descriptors and errno as DataError.
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>

namespace quench::cluster {

// Owns a file descriptor.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() { reset(); }
  Descriptor(Descriptor&& other) noexcept : value_(std::exchange(other.value_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    reset(std::exchange(other.value_, -1));
    return *this;
  }

  int get() const { return value_; }
  bool valid() const { return value_ >= 0; }
  void reset(int value = -1);

 private:
  int value_ = -1;
};

// Throws DataError "PATH: WHAT: errno's text", with the remedy for a full disk.
[[noreturn]] void throw_errno(const std::filesystem::path& path, const std::string& what);

// Opens a file (open(2) flags, mode 0666 less the umask); throws DataError.
Descriptor open_file(const std::filesystem::path& path, int flags);

// Bytes of an open file; throws DataError.
std::int64_t file_bytes(const Descriptor& file, const std::filesystem::path& path);

// Makes sure that an open file can grow to `bytes`; throws DataError when the disk or a limit
// stands against it. So a full disk is one rank's plain error before a collective write, not some
// ranks' error in the middle of it.
void reserve_space(const Descriptor& file, const std::filesystem::path& path, std::int64_t bytes);

// Makes what a closed file holds durable, before it is renamed into place.
void sync_file(const std::filesystem::path& path);
// Makes the names in a folder durable. Not every file system can; those that say so are trusted.
void sync_directory(const std::filesystem::path& directory);

}  // namespace quench::cluster
