#include "tests/support/store_checks.hpp"

#include <fstream>

#include "cluster/error.hpp"
#include "cluster/store.hpp"
#include "tests/support/file_size_limit.hpp"
#include "tests/support/shared_directory.hpp"

namespace quench::testing {
namespace {

using namespace cluster;

const StoreHeader header{"tested", 3, "run 7", "cafe"};

// Rank r has r of the rows, the last one all that are left: with two or more ranks one has none.
Range triangle(std::int64_t rows, Communicator& comm) {
  const std::int64_t r = comm.rank();
  const auto begin = r * (r - 1) / 2;
  return {begin, r + 1 == comm.size() ? rows : begin + r};
}

template <typename T>
std::vector<T> numbers(std::int64_t count) {
  std::vector<T> values;
  for (std::int64_t i = 0; i < count; ++i) values.push_back(static_cast<T>(3 * i + 1) / T{2});
  return values;
}

template <typename T>
std::span<const T> rows_in(const std::vector<T>& all, Range rows, std::int64_t row_elements) {
  return std::span<const T>(all).subspan(rows.begin * row_elements, rows.size() * row_elements);
}

template <typename T>
std::vector<T> piece(const std::vector<T>& all, Range rows) {
  return {all.begin() + rows.begin, all.begin() + rows.end};
}

// The message of the DataError that `body` throws.
std::string data_error(const std::function<void()>& body) {
  try {
    body();
  } catch (const DataError& error) {
    return error.what();
  } catch (const std::exception& error) {
    return std::string("not a DataError: ") + error.what();
  }
  return "nothing thrown";
}

void expect_contains(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << text;
}

template <typename T>
void round_trip_rows(Communicator& comm) {
  const SharedDirectory scratch(comm);
  const auto all = numbers<T>(11 * 6);
  StoreWriter writer(comm, scratch / "a.h5", header);
  writer.write_rows<T>("flat", rows_in(all, triangle(66, comm), 1));
  writer.write_rows<T>("deep/er/cube", rows_in(all, triangle(11, comm), 6), {2, 3});
  writer.finish();
  const StoreReader reader(scratch / "a.h5", "tested", 3);
  EXPECT_EQ(reader.read<T>("flat"), all);
  EXPECT_EQ(reader.read<T>("deep/er/cube"), all);
  EXPECT_EQ(reader.shape("flat"), (std::vector<std::int64_t>{66}));
  EXPECT_EQ(reader.shape("deep/er/cube"), (std::vector<std::int64_t>{11, 2, 3}));
  const auto middle = rows_in(all, {3, 8}, 6);
  EXPECT_EQ(reader.read_rows<T>("deep/er/cube", {3, 8}),
            std::vector<T>(middle.begin(), middle.end()));
  EXPECT_TRUE(reader.read_rows<T>("flat", {5, 5}).empty());
  EXPECT_TRUE(reader.contains("deep/er/cube"));
  EXPECT_TRUE(reader.contains("deep"));
  EXPECT_FALSE(reader.contains("deep/other/cube"));
}

void ragged(Communicator& comm) {
  const SharedDirectory scratch(comm);
  const std::vector<std::vector<std::int32_t>> rows{{}, {1}, {2, 3, 4}, {}, {}, {5, 6}, {}};
  const std::vector<std::string> texts{"Zürich", "",  "日本", std::string("a\0b", 3),
                                       "🙂",   "x", ""};
  StoreWriter writer(comm, scratch / "a.h5", header);
  writer.write_ragged<std::int32_t>("tokens", piece(rows, triangle(7, comm)), {{"item"}, "id"});
  writer.write_strings("texts", piece(texts, triangle(7, comm)));
  writer.finish();
  const StoreReader reader(scratch / "a.h5", "tested", 3);
  EXPECT_EQ(reader.shape("tokens"), std::vector<std::int64_t>{7});
  EXPECT_EQ(reader.read_ragged<std::int32_t>("tokens"), rows);
  EXPECT_EQ(reader.read_strings("texts"), texts);
  for (std::int64_t begin = 0; begin <= 7; ++begin)
    for (std::int64_t end = begin; end <= 7; ++end) {
      EXPECT_EQ(reader.read_ragged<std::int32_t>("tokens", {begin, end}),
                piece(rows, {begin, end}));
      EXPECT_EQ(reader.read_strings("texts", {begin, end}), piece(texts, {begin, end}));
    }
  EXPECT_EQ(reader.text_attribute("tokens", "axes"), "item");
  EXPECT_EQ(reader.text_attribute("texts", "encoding"), "utf-8");
}

void no_rows(Communicator& comm) {
  const SharedDirectory scratch(comm);
  StoreWriter writer(comm, scratch / "a.h5", header);
  writer.write_rows<float>("none", {}, {5});
  writer.write_ragged<double>("ragged", {});
  writer.write_strings("texts", {});
  writer.finish();
  const StoreReader reader(scratch / "a.h5", "tested", 3);
  EXPECT_EQ(reader.shape("none"), (std::vector<std::int64_t>{0, 5}));
  EXPECT_TRUE(reader.read<float>("none").empty());
  EXPECT_EQ(reader.shape("ragged"), std::vector<std::int64_t>{0});
  EXPECT_TRUE(reader.read_ragged<double>("ragged").empty());
  EXPECT_TRUE(reader.read_strings("texts").empty());
}

void attributes(Communicator& comm) {
  const SharedDirectory scratch(comm);
  StoreWriter writer(comm, scratch / "a.h5", header);
  const float value = 1;
  writer.write_rows<float>("group/x", {&value, comm.rank() == 0 ? 1UL : 0UL}, {},
                           {{"token"}, "nats"});
  writer.attribute("/", "note", std::string("grün"));
  writer.attribute("group/x", "ridge", 0.125);
  writer.attribute("group", "count", std::int64_t{1} << 40);
  writer.attribute("group", "count", std::int64_t{12});
  writer.attribute("group", "empty", std::string());
  writer.finish();
  const StoreReader reader(scratch / "a.h5", "tested", 3);
  EXPECT_EQ(reader.text_attribute("/", "note"), "grün");
  EXPECT_EQ(reader.number_attribute("group/x", "ridge"), 0.125);
  EXPECT_EQ(reader.number_attribute("group", "count"), 12);
  EXPECT_EQ(reader.text_attribute("group", "empty"), "");
  EXPECT_EQ(reader.text_attribute("group/x", "axes"), "token");
  EXPECT_EQ(reader.text_attribute("group/x", "units"), "nats");
  EXPECT_EQ(reader.number_attribute("/", "complete"), 1);
  EXPECT_EQ(reader.text_attribute("/", "created").size(), 20U);
  EXPECT_EQ(reader.header().stage, "tested");
  EXPECT_EQ(reader.header().schema, 3);
  EXPECT_EQ(reader.header().run_id, "run 7");
  EXPECT_EQ(reader.header().inputs_hash, "cafe");
}

// More than one transfer, of which the ranks have different numbers.
void large(Communicator& comm) {
  const SharedDirectory scratch(comm);
  constexpr std::int64_t row_bytes = 1 << 16;
  constexpr std::int64_t rows = 1100;
  const auto row_of = [](std::int64_t row) {
    return std::vector<std::uint8_t>(row_bytes, static_cast<std::uint8_t>(row * 37 + row / 256));
  };
  std::vector<std::uint8_t> local;
  const auto own = triangle(rows, comm);
  for (auto row = own.begin; row < own.end; ++row) {
    const auto bytes = row_of(row);
    local.insert(local.end(), bytes.begin(), bytes.end());
  }
  StoreWriter writer(comm, scratch / "a.h5", header);
  writer.write_rows<std::uint8_t>("large", local, {row_bytes});
  writer.finish();
  const StoreReader reader(scratch / "a.h5", "tested", 3);
  const auto part = rows_of(rows, comm.size(), comm.rank());
  std::int64_t wrong = 0;
  for (auto row = part.begin; row < part.end; ++row)
    wrong += reader.read_rows<std::uint8_t>("large", {row, row + 1}) != row_of(row);
  EXPECT_EQ(wrong, 0);
}

// The file appears with finish() alone; until then an older one of the name stays.
void appears_at_the_end(Communicator& comm) {
  const SharedDirectory scratch(comm);
  const auto path = scratch / "a.h5";
  const auto partial = scratch / "a.h5.partial";
  const std::vector<float> values(comm.rank() + 1, 1.0F);
  for (const bool older : {false, true}) {
    {
      StoreWriter writer(comm, path, header);
      writer.write_rows<float>("x", values);
      comm.barrier();
      EXPECT_TRUE(std::filesystem::exists(partial));
      EXPECT_EQ(std::filesystem::exists(path), older);
      comm.barrier();
    }
    comm.barrier();
    EXPECT_FALSE(std::filesystem::exists(partial));
    EXPECT_EQ(store_is_current(path, header), older);
    comm.barrier();
    StoreWriter writer(comm, path, header);
    writer.write_rows<float>("x", values);
    writer.finish();
    EXPECT_TRUE(store_is_current(path, header));
    EXPECT_FALSE(std::filesystem::exists(partial));
    EXPECT_THROW(writer.write_rows<float>("y", values), InternalError);
    comm.barrier();
  }
}

// What a killed start has left behind, also beside its file, is in nobody's way.
void leftovers(Communicator& comm) {
  const SharedDirectory scratch(comm);
  const auto path = scratch / "a.h5";
  if (comm.rank() == 0)
    for (const char* name : {"a.h5.partial", "a.h5.partial.data.7"})
      std::ofstream(scratch / name) << "leftover";
  comm.barrier();
  StoreWriter writer(comm, path, header);
  writer.finish();
  EXPECT_TRUE(store_is_current(path, header));
  const auto files = std::filesystem::directory_iterator(scratch.path());
  EXPECT_EQ(std::distance(begin(files), end(files)), 1);
}

void missing_folder(Communicator& comm) {
  const SharedDirectory scratch(comm);
  const auto path = scratch / "missing" / "a.h5";
  const auto message = data_error([&] { StoreWriter(comm, path, header); });
  expect_contains(message, path.string());
  expect_contains(message, "No such file or directory");
}

// A disk that is full from the start, in the middle, and nearly at the end.
void full_disk(Communicator& comm) {
  const SharedDirectory scratch(comm);
  const auto path = scratch / "a.h5";
  const std::vector<double> values(1 << 20, 1.5);
  for (const rlim_t limit : {1 << 10, 100 << 10, 4 << 20, 8 << 20}) {
    std::string message;
    comm.barrier();
    {
      std::optional<FileSizeLimit> full;  // of the process
      if (comm.name() != "threads" || comm.rank() == 0) full.emplace(limit);
      comm.barrier();
      message = data_error([&] {
        StoreWriter writer(comm, path, header);
        writer.write_rows<double>("small", std::span(values).first(10));
        writer.write_rows<double>("large", values);
        writer.finish();
      });
      comm.barrier();
    }
    expect_contains(message, path.string());
    expect_contains(message, "File too large");
    EXPECT_TRUE(std::filesystem::is_empty(scratch.path()));
  }
  comm.barrier();
  StoreWriter writer(comm, path, header);
  writer.write_rows<double>("large", values);
  writer.finish();
  EXPECT_TRUE(store_is_current(path, header));
}

// The others have room: over MPI, where each rank writes its own rows.
void full_disk_on_the_last_rank(Communicator& comm) {
  if (comm.name() != "mpi") return;
  const SharedDirectory scratch(comm);
  const auto path = scratch / "a.h5";
  const std::vector<double> values(1 << 19, 1.5);
  std::string message;
  {
    std::optional<FileSizeLimit> full;
    if (comm.rank() > 0 && comm.rank() == comm.size() - 1) full.emplace(2 << 20);
    message = data_error([&] {
      StoreWriter writer(comm, path, header);
      writer.write_rows<double>("large", values);
      writer.finish();
    });
  }
  if (comm.size() > 1) {
    expect_contains(message, path.string());
    expect_contains(message, "dataset large");
    expect_contains(message, "File too large");
  }
  EXPECT_EQ(store_is_current(path, header), comm.size() == 1);
}

void wrong_rows(Communicator& comm) {
  const SharedDirectory scratch(comm);
  StoreWriter writer(comm, scratch / "a.h5", header);
  const bool last = comm.rank() + 1 == comm.size();
  const std::vector<float> values(last ? 7 : 6);
  EXPECT_THROW(writer.write_rows<float>("x", values, {3}), InternalError);
}

void same_name_twice(Communicator& comm) {
  const SharedDirectory scratch(comm);
  const auto message = data_error([&] {
    StoreWriter writer(comm, scratch / "a.h5", header);
    writer.write_rows<float>("x", {});
    writer.write_rows<float>("x", {});
  });
  expect_contains(message, "a.h5");
  expect_contains(message, "dataset x");
  expect_contains(message, "H5Dcreate");
  EXPECT_TRUE(std::filesystem::is_empty(scratch.path()));
}

}  // namespace

const std::vector<CollectiveCheck>& store_checks() {
  static const std::vector<CollectiveCheck> checks{
      {"Bytes", round_trip_rows<std::uint8_t>},
      {"Int32", round_trip_rows<std::int32_t>},
      {"Int64", round_trip_rows<std::int64_t>},
      {"Float", round_trip_rows<float>},
      {"Double", round_trip_rows<double>},
      {"Ragged", ragged},
      {"NoRows", no_rows},
      {"Attributes", attributes},
      {"Large", large},
      {"AppearsAtTheEnd", appears_at_the_end},
      {"Leftovers", leftovers},
      {"MissingFolder", missing_folder},
      {"FullDisk", full_disk},
      {"FullDiskOnTheLastRank", full_disk_on_the_last_rank},
      {"WrongRows", wrong_rows},
      {"SameNameTwice", same_name_twice},
  };
  return checks;
}

}  // namespace quench::testing
