#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cluster/communicator.hpp"
#include "cluster/partition.hpp"

// HDF5, and the only place that calls it. One file a stage.
// Rows that differ in length (tokens, text) are two datasets, NAME/values and NAME/offsets (rows +
// 1 numbers): parallel HDF5 cannot write variable-length data. Text is UTF-8 bytes in that form,
// with the attribute "encoding" = "utf-8".
namespace quench::cluster {

struct StoreHeader {
  std::string stage;        // "dictionary"
  std::int64_t schema = 1;  // version of the file's layout
  std::string run_id;
  std::string inputs_hash;  // of everything that decides the content
};

// Documentation that travels with a dataset.
struct Axes {
  std::vector<std::string> names;  // one an axis, e.g. {"token", "feature"}
  std::string units;               // "" for counts and ids
};

// Writes one file, collectively. Rows given by the ranks are concatenated in rank order.
class StoreWriter {
 public:
  // Collective. Creates PATH.partial; PATH appears with finish() only. Throws DataError on all
  // ranks when it cannot be made.
  StoreWriter(Communicator& comm, const std::filesystem::path& path, const StoreHeader& header);
  ~StoreWriter();  // removes the partial file if finish() was not reached

  // Collective. `local` holds whole rows of row_shape elements each (row_shape {} : one number a
  // row). T: uint8, int32, int64, float, double.
  template <typename T>
  void write_rows(const std::string& name, std::span<const T> local,
                  const std::vector<std::int64_t>& row_shape = {}, const Axes& axes = {});
  // Collective. Ragged rows.
  template <typename T>
  void write_ragged(const std::string& name, const std::vector<std::vector<T>>& local,
                    const Axes& axes = {});
  void write_strings(const std::string& name, const std::vector<std::string>& local,
                     const Axes& axes = {});

  // Collective; the same value on all ranks. `object` is "/" or a dataset or group.
  void attribute(const std::string& object, const std::string& key, const std::string& value);
  void attribute(const std::string& object, const std::string& key, double value);
  void attribute(const std::string& object, const std::string& key, std::int64_t value);

  // Collective. Writes the mark `complete`, flushes to disk, renames. Throws DataError (all ranks)
  // naming the path when the disk is full; then nothing is left behind.
  void finish();

 private:
  class Implementation;
  std::unique_ptr<Implementation> implementation_;
};

// Reads a complete file; local, no communicator, any rank count.
class StoreReader {
 public:
  // Throws DataError naming the file when it is missing, truncated, not complete, of another stage
  // or schema.
  StoreReader(const std::filesystem::path& path, const std::string& stage, std::int64_t schema);
  ~StoreReader();
  StoreReader(StoreReader&&) noexcept;
  StoreReader& operator=(StoreReader&&) noexcept;

  const StoreHeader& header() const;
  bool contains(const std::string& name) const;
  // Shape of a plain dataset; of a ragged one: {rows}.
  std::vector<std::int64_t> shape(const std::string& name) const;

  // All of it, or the rows [begin, end) (row-major). Throws DataError naming file and dataset.
  template <typename T>
  std::vector<T> read(const std::string& name) const;
  template <typename T>
  std::vector<T> read_rows(const std::string& name, Range rows) const;
  template <typename T>
  std::vector<std::vector<T>> read_ragged(const std::string& name) const;
  template <typename T>
  std::vector<std::vector<T>> read_ragged(const std::string& name, Range rows) const;
  std::vector<std::string> read_strings(const std::string& name) const;
  std::vector<std::string> read_strings(const std::string& name, Range rows) const;

  std::string text_attribute(const std::string& object, const std::string& key) const;
  double number_attribute(const std::string& object, const std::string& key) const;

 private:
  class Implementation;
  std::unique_ptr<Implementation> implementation_;
};

// True when `path` holds a complete file of this stage, schema and inputs_hash; false when it is
// missing or another's.
bool store_is_current(const std::filesystem::path& path, const StoreHeader& expected);

}  // namespace quench::cluster
