#include "cluster/journal.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "cluster/error.hpp"
#include "tests/support/file_size_limit.hpp"
#include "tests/support/scratch_directory.hpp"

namespace quench::cluster {
namespace {

namespace fs = std::filesystem;
using testing::ScratchDirectory;

struct Written {
  std::string key, payload;
  std::int64_t offset = 0;
};

std::string bytes_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void put(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

std::vector<Written> write_three(const fs::path& path) {
  std::vector<Written> records{{"alpha", std::string("one\0two", 7)}, {"b", ""}, {"", "three"}};
  JournalWriter journal(path);
  for (auto& record : records) record.offset = journal.append(record.key, record.payload);
  return records;
}

// The journal holds exactly the first `count` of these records.
void expect_records(const fs::path& path, const std::vector<Written>& records, std::size_t count) {
  const auto found = scan_journal(path);
  ASSERT_EQ(found.size(), count);
  for (std::size_t i = 0; i < count; ++i) {
    EXPECT_EQ(found[i].key, records[i].key);
    EXPECT_EQ(found[i].offset, records[i].offset);
    EXPECT_EQ(found[i].payload_bytes, static_cast<std::int64_t>(records[i].payload.size()));
    EXPECT_EQ(read_journal(path, found[i].offset), records[i].payload);
  }
}

std::size_t whole_records(const std::vector<Written>& records, std::size_t bytes,
                          std::size_t total) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < records.size(); ++i) {
    const auto end = i + 1 < records.size() ? records[i + 1].offset : std::int64_t(total);
    if (static_cast<std::size_t>(end) <= bytes) count = i + 1;
  }
  return count;
}

TEST(Journal, KeepsRecords) {
  const ScratchDirectory scratch;
  const auto records = write_three(scratch / "a");
  expect_records(scratch / "a", records, 3);
  EXPECT_TRUE(scan_journal(scratch / "missing").empty());
}

TEST(Journal, KeepsLargePayloads) {
  const ScratchDirectory scratch;
  std::string payload(5'000'000, '\0');
  for (std::size_t i = 0; i < payload.size(); ++i) payload[i] = static_cast<char>(i * 7 / 3);
  JournalWriter(scratch / "a").append("large", payload);
  EXPECT_EQ(read_journal(scratch / "a", 0), payload);
}

// A journal cut at any byte keeps the records before the cut, and goes on from there.
TEST(Journal, TornAtEveryByte) {
  const ScratchDirectory scratch;
  const auto path = scratch / "a";
  const auto records = write_three(path);
  const auto whole = bytes_of(path);
  for (std::size_t cut = 0; cut <= whole.size(); ++cut) {
    SCOPED_TRACE(cut);
    put(path, whole.substr(0, cut));
    const auto left = whole_records(records, cut, whole.size());
    expect_records(path, records, left);
    auto expected = std::vector(records.begin(), records.begin() + static_cast<long>(left));
    expected.push_back({"next", "payload"});
    expected.back().offset = JournalWriter(path).append("next", "payload");
    expect_records(path, expected, left + 1);
  }
}

// A flipped bit anywhere hides its record and what follows, never passes for data.
TEST(Journal, FlippedAtEveryByte) {
  const ScratchDirectory scratch;
  const auto path = scratch / "a";
  const auto records = write_three(path);
  const auto whole = bytes_of(path);
  for (std::size_t at = 0; at < whole.size(); ++at) {
    SCOPED_TRACE(at);
    auto damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    put(path, damaged);
    const auto left = whole_records(records, at, whole.size());
    expect_records(path, records, left);
    EXPECT_THROW(read_journal(path, records[left].offset), DataError);
  }
}

TEST(Journal, RefusesOffsetsOutside) {
  const ScratchDirectory scratch;
  write_three(scratch / "a");
  for (const std::int64_t offset : {std::int64_t{-1}, std::int64_t{1}, std::int64_t{1} << 40})
    EXPECT_THROW(read_journal(scratch / "a", offset), DataError);
}

TEST(Journal, NothingStaysOfARecordThatDoesNotFit) {
  const ScratchDirectory scratch;
  const auto path = scratch / "a";
  JournalWriter journal(path);
  journal.append("first", "payload");
  const auto before = bytes_of(path);
  {
    const testing::FileSizeLimit limit(1000);
    try {
      journal.append("second", std::string(5000, 'x'));
      ADD_FAILURE() << "nothing thrown";
    } catch (const DataError& error) {
      const std::string message = error.what();
      EXPECT_NE(message.find(path.string()), std::string::npos) << message;
      EXPECT_NE(message.find("File too large"), std::string::npos) << message;
      EXPECT_NE(message.find("byte " + std::to_string(before.size())), std::string::npos)
          << message;
    }
    EXPECT_EQ(bytes_of(path), before);
  }
  journal.append("third", "payload");
  EXPECT_EQ(scan_journal(path).size(), 2U);
}

TEST(Journal, TellsOfAFullDisk) {
  JournalWriter journal("/dev/full");
  try {
    journal.append("key", "payload");
    ADD_FAILURE() << "nothing thrown";
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("No space left"), std::string::npos) << error.what();
  }
}

TEST(Journal, TellsOfAMissingFolder) {
  const ScratchDirectory scratch;
  EXPECT_THROW(JournalWriter(scratch / "missing/a"), DataError);
  put(scratch / "file", "");
  EXPECT_THROW(JournalWriter(scratch / "file/a"), DataError);
}

}  // namespace
}  // namespace quench::cluster
