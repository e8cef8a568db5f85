#pragma once

// Inside store_*.cpp only: HDF5 with owned handles and checked calls.
#include <hdf5.h>

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace quench::cluster::hdf5 {

// HDF5 is not thread-safe: whoever calls it, the functions below included, holds this lock. The
// first one to take it turns off HDF5's printing of errors.
[[nodiscard]] std::unique_lock<std::mutex> lock();

// Throws DataError "CALL: " and HDF5's own innermost messages.
[[noreturn]] void fail(const char* call);

// The result of an HDF5 call, unless it is negative.
template <typename Result>
Result checked(Result result, const char* call) {
  if (result < 0) fail(call);
  return result;
}

// Owns an HDF5 identifier.
class Handle {
 public:
  Handle() = default;
  // Takes the result of `call`, checked.
  Handle(hid_t id, herr_t (*close)(hid_t), const char* call)
      : id_(checked(id, call)), close_(close) {}
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(id_, other.id_);
    std::swap(close_, other.close_);
    return *this;
  }
  operator hid_t() const { return id_; }

 private:
  hid_t id_ = -1;
  herr_t (*close_)(hid_t) = nullptr;
};

// How an element type lies in a file (little-endian, fixed size; so does it in memory).
template <typename T>
hid_t type_of();

std::string type_name(hid_t type);

Handle open_object(hid_t file, const std::string& name);
Handle open_dataset(hid_t file, const std::string& name);
// True for a dataset or group of this name.
bool contains(hid_t file, const std::string& name);
std::vector<hsize_t> shape_of(hid_t dataset);

// A dataset whose space is allocated at once and never filled, and the groups on its way.
Handle create_dataset(hid_t file, const std::string& name, hid_t type,
                      const std::vector<hsize_t>& shape);

// Consecutive rows of a dataset and their bytes, of the dataset's own type.
struct Slab {
  std::int64_t begin = 0;
  std::int64_t rows = 0;
  const std::byte* data = nullptr;
};
// In a collective transfer a slab without rows takes part too.
void write_slab(hid_t dataset, hid_t transfer, const Slab& slab);

// Throws DataError unless the file opens and all its objects can be read. MPI's file layers have
// been seen to lose a failed write.
void check_file(const std::string& path);

// Attributes replace an older one of the same name. Text is of fixed size, UTF-8.
void write_attribute(hid_t object, const std::string& key, const std::string& value);
void write_attribute(hid_t object, const std::string& key, double value);
void write_attribute(hid_t object, const std::string& key, std::int64_t value);
std::string read_text(hid_t object, const std::string& key);
double read_number(hid_t object, const std::string& key);

}  // namespace quench::cluster::hdf5
