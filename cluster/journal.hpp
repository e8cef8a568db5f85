#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "cluster/posix.hpp"

namespace quench::cluster {

// Append-only file of one rank: records framed by magic, key length, payload length and CRC-32,
// each written with one write and fsync'd, so that a killed process loses at most the record in
// flight.
class JournalWriter {
 public:
  // Opens for appending after cutting off a torn tail; throws DataError (place and errno's text).
  explicit JournalWriter(std::filesystem::path path);

  // Returns the record's offset in the file. Throws DataError when the disk is full (nothing of the
  // record stays).
  std::int64_t append(std::string_view key, std::string_view payload);
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  Descriptor file_;
  std::int64_t end_ = 0;
};

struct JournalEntry {
  std::string key;
  std::int64_t offset = 0;
  std::int64_t payload_bytes = 0;
};
// The whole records of a journal, in file order; a torn or damaged tail is ignored. Missing file:
// none.
std::vector<JournalEntry> scan_journal(const std::filesystem::path& path);
// The payload of the record at `offset`; throws DataError when its checksum is wrong.
std::string read_journal(const std::filesystem::path& path, std::int64_t offset);

}  // namespace quench::cluster
