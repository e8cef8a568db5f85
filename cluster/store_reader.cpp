#include <fcntl.h>

#include <algorithm>
#include <optional>

#include "cluster/error.hpp"
#include "cluster/hdf5_calls.hpp"
#include "cluster/posix.hpp"
#include "cluster/store.hpp"

namespace quench::cluster {

using hdf5::checked;
using hdf5::Handle;

class StoreReader::Implementation {
 public:
  explicit Implementation(std::filesystem::path path);
  ~Implementation();
  Implementation(const Implementation&) = delete;
  Implementation& operator=(const Implementation&) = delete;

  const StoreHeader& header() const { return header_; }
  // Throws DataError unless the file is complete, and of this stage and schema.
  void expect(const std::string& stage, std::int64_t schema) const;

  bool contains(const std::string& name) const;
  std::vector<std::int64_t> shape(const std::string& name) const;
  template <typename T>
  std::vector<T> read(const std::string& name, std::optional<Range> rows) const;
  template <typename T, typename Row>
  std::vector<Row> read_ragged(const std::string& name, std::optional<Range> rows) const;

  // What `body` returns while HDF5 is locked; its DataErrors are told with file and place.
  template <typename Body>
  auto guarded(const std::string& place, const Body& body) const;
  hid_t file() const { return file_; }

 private:
  [[noreturn]] void refuse(const std::string& what) const;
  Range checked_rows(std::optional<Range> rows, std::int64_t count) const;
  void check_offsets(const std::vector<std::int64_t>& offsets, std::int64_t values) const;

  std::filesystem::path path_;
  Handle file_;
  StoreHeader header_;
  bool complete_ = false;
};

namespace {

Handle open_store(const std::filesystem::path& path) {
  // For the plain words of errno when it cannot be read at all.
  open_file(path, O_RDONLY);
  if (H5Fis_hdf5(path.c_str()) <= 0) throw DataError("not an HDF5 file, or cut off in its header");
  const Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose, "H5Pcreate");
  checked(H5Pset_file_locking(access, true, true), "H5Pset_file_locking");
  return {H5Fopen(path.c_str(), H5F_ACC_RDONLY, access), H5Fclose, "H5Fopen"};
}

template <typename T>
std::vector<T> read_slab(hid_t dataset, const std::vector<hsize_t>& shape, Range rows) {
  std::vector<hsize_t> start(shape.size(), 0);
  auto counts = shape;
  start[0] = static_cast<hsize_t>(rows.begin);
  counts[0] = static_cast<hsize_t>(rows.size());
  std::size_t elements = 1;
  for (const auto count : counts) elements *= count;
  std::vector<T> values(elements);
  if (elements == 0) return values;
  const Handle file_space(H5Dget_space(dataset), H5Sclose, "H5Dget_space");
  checked(H5Sselect_hyperslab(file_space, H5S_SELECT_SET, start.data(), nullptr, counts.data(),
                              nullptr),
          "H5Sselect_hyperslab");
  const Handle memory_space(
      H5Screate_simple(static_cast<int>(counts.size()), counts.data(), nullptr), H5Sclose,
      "H5Screate_simple");
  checked(
      H5Dread(dataset, hdf5::type_of<T>(), memory_space, file_space, H5P_DEFAULT, values.data()),
      "H5Dread");
  return values;
}

template <typename T>
void expect_type(hid_t dataset) {
  const Handle stored(H5Dget_type(dataset), H5Tclose, "H5Dget_type");
  const Handle native(H5Tget_native_type(stored, H5T_DIR_ASCEND), H5Tclose, "H5Tget_native_type");
  if (H5Tequal(native, hdf5::type_of<T>()) <= 0)  // whatever the order of its bytes
    throw DataError("holds " + hdf5::type_name(stored) + ", not " +
                    hdf5::type_name(hdf5::type_of<T>()));
}

std::string text_of(Range rows) {
  return "[" + std::to_string(rows.begin) + ", " + std::to_string(rows.end) + ")";
}

}  // namespace

template <typename Body>
auto StoreReader::Implementation::guarded(const std::string& place, const Body& body) const {
  const auto held = hdf5::lock();
  try {
    return body();
  } catch (const DataError& error) {
    const std::string what = error.what();
    throw what.starts_with(path_.string()) ? error
                                           : DataError(path_.string() + ": " + place + what);
  }
}

StoreReader::Implementation::Implementation(std::filesystem::path path) : path_(std::move(path)) {
  guarded("", [&] {
    file_ = open_store(path_);
    const auto root = hdf5::open_object(file_, "/");
    complete_ = hdf5::read_number(root, "complete") == 1;
    header_.stage = hdf5::read_text(root, "stage");
    header_.schema = static_cast<std::int64_t>(hdf5::read_number(root, "schema_version"));
    header_.run_id = hdf5::read_text(root, "run_id");
    header_.inputs_hash = hdf5::read_text(root, "inputs_hash");
  });
}

StoreReader::Implementation::~Implementation() {
  const auto held = hdf5::lock();
  file_ = Handle();
}

void StoreReader::Implementation::refuse(const std::string& what) const {
  throw DataError(path_.string() + ": " + what + "; remove it and run its stage again");
}

void StoreReader::Implementation::expect(const std::string& stage, std::int64_t schema) const {
  if (!complete_) refuse("not complete");
  if (header_.stage != stage)
    refuse("a file of stage \"" + header_.stage + "\", not \"" + stage + "\"");
  if (header_.schema != schema)
    refuse("of schema version " + std::to_string(header_.schema) + "; this program reads " +
           std::to_string(schema));
}

bool StoreReader::Implementation::contains(const std::string& name) const {
  const auto held = hdf5::lock();
  return hdf5::contains(file_, name);
}

std::vector<std::int64_t> StoreReader::Implementation::shape(const std::string& name) const {
  return guarded(name + ": ", [&]() -> std::vector<std::int64_t> {
    const bool ragged = hdf5::contains(file_, name + "/offsets");
    const auto extents =
        hdf5::shape_of(hdf5::open_dataset(file_, ragged ? name + "/offsets" : name));
    if (ragged) return {static_cast<std::int64_t>(extents.at(0)) - 1};
    return {extents.begin(), extents.end()};
  });
}

Range StoreReader::Implementation::checked_rows(std::optional<Range> rows,
                                                std::int64_t count) const {
  if (!rows) return {0, count};
  if (rows->begin < 0 || rows->begin > rows->end || rows->end > count)
    throw DataError("rows " + text_of(*rows) + " asked of " + std::to_string(count));
  return *rows;
}

template <typename T>
std::vector<T> StoreReader::Implementation::read(const std::string& name,
                                                 std::optional<Range> rows) const {
  return guarded("dataset " + name + ": ", [&] {
    const auto dataset = hdf5::open_dataset(file_, name);
    expect_type<T>(dataset);
    const auto shape = hdf5::shape_of(dataset);
    if (shape.empty()) throw DataError("has no rows");
    return read_slab<T>(dataset, shape, checked_rows(rows, static_cast<std::int64_t>(shape[0])));
  });
}

// The offsets must increase and stay within the values, or a damaged file would lead astray.
void StoreReader::Implementation::check_offsets(const std::vector<std::int64_t>& offsets,
                                                std::int64_t values) const {
  if (offsets.front() < 0 || offsets.back() > values ||
      !std::is_sorted(offsets.begin(), offsets.end()))
    throw DataError("the offsets do not increase from 0 to " + std::to_string(values));
}

template <typename T, typename Row>
std::vector<Row> StoreReader::Implementation::read_ragged(const std::string& name,
                                                          std::optional<Range> rows) const {
  const auto count = shape(name).at(0);
  const auto values = shape(name + "/values").at(0);
  std::vector<std::int64_t> offsets;
  guarded("dataset " + name + ": ", [&] {
    if (!hdf5::contains(file_, name + "/offsets") || count < 0)
      throw DataError("not made of values and offsets");
    rows = checked_rows(rows, count);
  });
  offsets = read<std::int64_t>(name + "/offsets", Range{rows->begin, rows->end + 1});
  guarded("dataset " + name + ": ", [&] { check_offsets(offsets, values); });
  const auto flat = read<T>(name + "/values", Range{offsets.front(), offsets.back()});
  std::vector<Row> ragged;
  for (std::size_t i = 0; i + 1 < offsets.size(); ++i)
    ragged.emplace_back(flat.begin() + (offsets[i] - offsets[0]),
                        flat.begin() + (offsets[i + 1] - offsets[0]));
  return ragged;
}

StoreReader::StoreReader(const std::filesystem::path& path, const std::string& stage,
                         std::int64_t schema)
    : implementation_(std::make_unique<Implementation>(path)) {
  implementation_->expect(stage, schema);
}

StoreReader::~StoreReader() = default;
StoreReader::StoreReader(StoreReader&&) noexcept = default;
StoreReader& StoreReader::operator=(StoreReader&&) noexcept = default;

const StoreHeader& StoreReader::header() const { return implementation_->header(); }

bool StoreReader::contains(const std::string& name) const {
  return implementation_->contains(name);
}

std::vector<std::int64_t> StoreReader::shape(const std::string& name) const {
  return implementation_->shape(name);
}

template <typename T>
std::vector<T> StoreReader::read(const std::string& name) const {
  return implementation_->read<T>(name, std::nullopt);
}
template <typename T>
std::vector<T> StoreReader::read_rows(const std::string& name, Range rows) const {
  return implementation_->read<T>(name, rows);
}
template <typename T>
std::vector<std::vector<T>> StoreReader::read_ragged(const std::string& name) const {
  return implementation_->read_ragged<T, std::vector<T>>(name, std::nullopt);
}
template <typename T>
std::vector<std::vector<T>> StoreReader::read_ragged(const std::string& name, Range rows) const {
  return implementation_->read_ragged<T, std::vector<T>>(name, rows);
}
std::vector<std::string> StoreReader::read_strings(const std::string& name) const {
  return implementation_->read_ragged<std::uint8_t, std::string>(name, std::nullopt);
}
std::vector<std::string> StoreReader::read_strings(const std::string& name, Range rows) const {
  return implementation_->read_ragged<std::uint8_t, std::string>(name, rows);
}

std::string StoreReader::text_attribute(const std::string& object, const std::string& key) const {
  return implementation_->guarded(object + ": ", [&] {
    return hdf5::read_text(hdf5::open_object(implementation_->file(), object), key);
  });
}

double StoreReader::number_attribute(const std::string& object, const std::string& key) const {
  return implementation_->guarded(object + ": ", [&] {
    return hdf5::read_number(hdf5::open_object(implementation_->file(), object), key);
  });
}

bool store_is_current(const std::filesystem::path& path, const StoreHeader& expected) {
  try {
    const StoreReader reader(path, expected.stage, expected.schema);
    return reader.header().inputs_hash == expected.inputs_hash;
  } catch (const DataError&) {
    return false;
  }
}

#define QUENCH_READ(T)                                                                        \
  template std::vector<T> StoreReader::read<T>(const std::string&) const;                     \
  template std::vector<T> StoreReader::read_rows<T>(const std::string&, Range) const;         \
  template std::vector<std::vector<T>> StoreReader::read_ragged<T>(const std::string&) const; \
  template std::vector<std::vector<T>> StoreReader::read_ragged<T>(const std::string&, Range) const;
QUENCH_READ(std::uint8_t)
QUENCH_READ(std::int32_t)
QUENCH_READ(std::int64_t)
QUENCH_READ(float)
QUENCH_READ(double)
#undef QUENCH_READ

}  // namespace quench::cluster
