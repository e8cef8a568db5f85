#include "cluster/journal.hpp"

#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <optional>

#include "cluster/error.hpp"

namespace quench::cluster {

namespace {

// A record: magic (4 bytes), key bytes (4), payload bytes (8), CRC-32 of everything else (4), key,
// payload; little-endian.
static_assert(std::endian::native == std::endian::little);
constexpr std::uint32_t kMagic = 0x314C4A51;  // "QJL1"
constexpr std::int64_t kHeadBytes = 16;
constexpr std::int64_t kHeaderBytes = kHeadBytes + 4;
constexpr std::int64_t kBlock = 1 << 20;

struct Head {
  std::uint32_t magic = kMagic;
  std::uint32_t key_bytes = 0;
  std::uint64_t payload_bytes = 0;
};
static_assert(sizeof(Head) == kHeadBytes);

std::uint32_t crc32_of(std::uint32_t crc, const char* data, std::int64_t bytes) {
  return static_cast<std::uint32_t>(
      crc32_z(crc, reinterpret_cast<const Bytef*>(data), static_cast<std::size_t>(bytes)));
}

std::string frame(std::string_view key, std::string_view payload) {
  const Head head{kMagic, static_cast<std::uint32_t>(key.size()), payload.size()};
  std::string record(kHeaderBytes, '\0');
  record.append(key).append(payload);
  std::memcpy(record.data(), &head, kHeadBytes);
  auto crc = crc32_of(0, record.data(), kHeadBytes);
  crc = crc32_of(crc, record.data() + kHeaderBytes,
                 static_cast<std::int64_t>(record.size()) - kHeaderBytes);
  std::memcpy(record.data() + kHeadBytes, &crc, sizeof crc);
  return record;
}

// False at the file's end.
bool read_at(const Descriptor& file, const std::filesystem::path& path, std::int64_t offset,
             char* data, std::int64_t bytes) {
  while (bytes > 0) {
    const auto n = ::pread(file.get(), data, static_cast<std::size_t>(bytes), offset);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw_errno(path, "byte " + std::to_string(offset) + ": cannot be read");
    if (n == 0) return false;
    data += n;
    offset += n;
    bytes -= n;
  }
  return true;
}

struct Record {
  JournalEntry entry;
  std::string payload;
  std::int64_t end = 0;
};

// The record at `offset` if it is whole; its payload is kept only on request.
std::optional<Record> record_at(const Descriptor& file, const std::filesystem::path& path,
                                std::int64_t offset, std::int64_t size, bool keep_payload) {
  std::array<char, kHeaderBytes> header{};
  if (offset < 0 || offset > size - kHeaderBytes) return std::nullopt;
  if (!read_at(file, path, offset, header.data(), kHeaderBytes)) return std::nullopt;
  Head head;
  std::uint32_t expected = 0;
  std::memcpy(&head, header.data(), kHeadBytes);
  std::memcpy(&expected, header.data() + kHeadBytes, sizeof expected);
  const auto room = static_cast<std::uint64_t>(size - offset - kHeaderBytes);
  if (head.magic != kMagic || head.key_bytes > room || head.payload_bytes > room - head.key_bytes)
    return std::nullopt;

  Record record;
  record.entry = {std::string(head.key_bytes, '\0'), offset,
                  static_cast<std::int64_t>(head.payload_bytes)};
  std::int64_t at = offset + kHeaderBytes;
  if (!read_at(file, path, at, record.entry.key.data(), head.key_bytes)) return std::nullopt;
  at += head.key_bytes;
  auto crc = crc32_of(0, header.data(), kHeadBytes);
  crc = crc32_of(crc, record.entry.key.data(), head.key_bytes);
  record.end = at + record.entry.payload_bytes;
  std::string block;
  while (at < record.end) {
    block.resize(static_cast<std::size_t>(std::min(kBlock, record.end - at)));
    const auto bytes = static_cast<std::int64_t>(block.size());
    if (!read_at(file, path, at, block.data(), bytes)) return std::nullopt;
    crc = crc32_of(crc, block.data(), bytes);
    if (keep_payload) record.payload += block;
    at += bytes;
  }
  if (crc != expected) return std::nullopt;
  return record;
}

// Adds the whole records to `entries` and returns where they end.
std::int64_t scan(const Descriptor& file, const std::filesystem::path& path,
                  std::vector<JournalEntry>& entries) {
  const auto size = file_bytes(file, path);
  std::int64_t end = 0;
  while (auto record = record_at(file, path, end, size, false)) {
    entries.push_back(std::move(record->entry));
    end = record->end;
  }
  return end;
}

// False, with errno, when not everything could be written.
bool write_at(const Descriptor& file, std::int64_t offset, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto n = ::pwrite(file.get(), bytes.data(), bytes.size(), offset);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(n));
    offset += n;
  }
  return true;
}

}  // namespace

JournalWriter::JournalWriter(std::filesystem::path path)
    : path_(std::move(path)), file_(open_file(path_, O_RDWR | O_CREAT)) {
  std::vector<JournalEntry> entries;
  end_ = scan(file_, path_, entries);
  if (file_bytes(file_, path_) > end_ && ::ftruncate(file_.get(), end_) != 0)
    throw_errno(path_, "byte " + std::to_string(end_) + ": the torn tail cannot be cut off");
  sync_directory(path_.parent_path());
}

std::int64_t JournalWriter::append(std::string_view key, std::string_view payload) {
  const auto record = frame(key, payload);
  const auto offset = end_;
  if (!write_at(file_, offset, record) || ::fdatasync(file_.get()) != 0) {
    const int error = errno;
    // What stays if this fails as well is a torn tail, which the next opening cuts off.
    [[maybe_unused]] const int cut = ::ftruncate(file_.get(), offset);
    errno = error;
    throw_errno(path_, "byte " + std::to_string(offset) + ": the record of " +
                           std::to_string(record.size()) + " bytes cannot be written");
  }
  end_ += static_cast<std::int64_t>(record.size());
  return offset;
}

std::vector<JournalEntry> scan_journal(const std::filesystem::path& path) {
  std::vector<JournalEntry> entries;
  if (std::filesystem::exists(path)) scan(open_file(path, O_RDONLY), path, entries);
  return entries;
}

std::string read_journal(const std::filesystem::path& path, std::int64_t offset) {
  const auto file = open_file(path, O_RDONLY);
  auto record = record_at(file, path, offset, file_bytes(file, path), true);
  if (!record)
    throw DataError(path.string() + ": byte " + std::to_string(offset) +
                    ": the record is damaged; give the same command again to compute it anew");
  return std::move(record->payload);
}

}  // namespace quench::cluster
