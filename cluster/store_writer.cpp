#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <functional>
#include <numeric>

#include "cluster/collectives.hpp"
#include "cluster/error.hpp"
#include "cluster/fault.hpp"
#include "cluster/hdf5_calls.hpp"
#include "cluster/mpi_handle.hpp"
#include "cluster/posix.hpp"
#include "cluster/store.hpp"
#include "cluster/unwinding.hpp"

namespace quench::cluster {

using hdf5::checked;
using hdf5::Handle;

namespace {

// What a rank hands over at once: far below the 2^31 bytes that MPI and its file layers can count.
constexpr std::int64_t kTransferBytes = std::int64_t{32} << 20;
// Reserved beside the data for HDF5's own structures: of the file, and of each dataset.
constexpr std::int64_t kMetadataReserve = std::int64_t{1} << 20;
constexpr std::int64_t kHeaderReserve = std::int64_t{4} << 10;
constexpr std::int64_t kStripe = 1 << 20;  // of a parallel file system

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

std::string join(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "" : ",") + name;
  return text;
}

// Also what Open MPI puts beside a file (PARTIAL.data.0, ...) and leaves there when it is not
// closed.
void remove_partial(const std::filesystem::path& partial) {
  const auto name = partial.filename().string();
  std::error_code ignored;
  for (const auto& file : std::filesystem::directory_iterator(partial.parent_path(), ignored))
    if (file.path().filename().string().starts_with(name))
      std::filesystem::remove(file.path(), ignored);
}

// The rows' elements one after another, and how many each row has.
template <typename T, typename Row>
std::pair<std::vector<T>, std::vector<std::int64_t>> flatten(const std::vector<Row>& rows) {
  std::pair<std::vector<T>, std::vector<std::int64_t>> flat;
  for (const auto& row : rows) {
    flat.first.insert(flat.first.end(), row.begin(), row.end());
    flat.second.push_back(static_cast<std::int64_t>(row.size()));
  }
  return flat;
}

}  // namespace

// With an MPI communicator every rank opens the file and writes its own rows collectively
// (parallel HDF5). With any other, rank 0 alone has it open and gets the others' rows.
class StoreWriter::Implementation {
 public:
  struct Element {
    hid_t (*type)();
    std::int64_t bytes;
  };

  Implementation(Communicator& comm, const std::filesystem::path& path, const StoreHeader& header);
  ~Implementation();
  Implementation(const Implementation&) = delete;
  Implementation& operator=(const Implementation&) = delete;

  void write(const std::string& name, Element element, std::span<const std::byte> local,
             const std::vector<std::int64_t>& row_shape);
  // lengths[i] elements of `local` are row i.
  void write_ragged(const std::string& name, Element element, std::span<const std::byte> local,
                    std::span<const std::int64_t> lengths);
  template <typename Value>
  void attribute(const std::string& object, const std::string& key, const Value& value);
  void annotate(const std::string& object, const Axes& axes);
  void finish();

 private:
  void together(const std::string& place, const std::function<void()>& local);
  void open();
  void close();
  void abandon(bool failed);
  void publish();
  std::vector<std::int64_t> row_offsets(const std::string& name, std::int64_t local_bytes,
                                        std::int64_t row_bytes);
  void reserve();
  void transfer(const std::string& name, std::int64_t row_bytes,
                const std::vector<std::int64_t>& offsets, const std::byte* local);

  Communicator& comm_;
  MPI_Comm mpi_;
  bool parallel_;
  bool has_file_;  // this rank has it open
  std::filesystem::path path_, partial_;
  Descriptor descriptor_;  // of rank 0, beside HDF5's own
  Handle transfer_;
  hid_t file_ = -1;
  std::int64_t needed_ = kMetadataReserve;  // bytes that the file may grow to, at most
  bool ended_ = false;
  Unwinding unwinding_;
};

StoreWriter::Implementation::Implementation(Communicator& comm, const std::filesystem::path& path,
                                            const StoreHeader& header)
    : comm_(comm),
      mpi_(mpi_handle(comm)),
      parallel_(mpi_ != MPI_COMM_NULL),
      has_file_(parallel_ || comm.rank() == 0),
      path_(std::filesystem::absolute(path)),
      partial_(path_.string() + ".partial") {
  together("", [&] {
    if (comm_.rank() != 0) return;
    remove_partial(partial_);
    descriptor_ = open_file(partial_, O_RDWR | O_CREAT | O_TRUNC);
  });
  reserve();
  together("", [&] { open(); });
  attribute("/", "stage", header.stage);
  attribute("/", "schema_version", header.schema);
  attribute("/", "run_id", header.run_id);
  attribute("/", "inputs_hash", header.inputs_hash);
  attribute("/", "created", broadcast_string(comm_, 0, utc_now()));
  attribute("/", "complete", std::int64_t{0});
}

StoreWriter::Implementation::~Implementation() {
  if (ended_) return;
  abandon(static_cast<bool>(unwinding_));
}

// Runs `local` where the file is open; when it throws anywhere, gives the file up and throws one
// DataError on all ranks.
void StoreWriter::Implementation::together(const std::string& place,
                                           const std::function<void()>& local) {
  if (ended_) throw InternalError(path_.string() + ": written to after its end");
  try {
    agree(comm_, [&] {
      if (!has_file_) return;
      const auto held = hdf5::lock();
      try {
        local();
      } catch (const DataError& error) {
        const std::string what = error.what();
        throw what.starts_with(partial_.string())
            ? error
            : DataError(partial_.string() + ": " + place + what);
      }
    });
  } catch (const Error&) {
    abandon(true);
    comm_.barrier();  // nobody goes on before the file is gone
    throw;
  }
}

// A step of its own, before HDF5 learns of the growth: it fails on rank 0 alone.
void StoreWriter::Implementation::reserve() {
  together("", [&] {
    if (comm_.rank() == 0) reserve_space(descriptor_, partial_, needed_);
  });
}

void StoreWriter::Implementation::open() {
  const Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose, "H5Pcreate");
  checked(H5Pset_fclose_degree(access, H5F_CLOSE_STRONG), "H5Pset_fclose_degree");
  checked(H5Pset_alignment(access, kStripe, kStripe), "H5Pset_alignment");
  // Locks the file where the file system can.
  checked(H5Pset_file_locking(access, true, true), "H5Pset_file_locking");
  transfer_ = Handle(H5Pcreate(H5P_DATASET_XFER), H5Pclose, "H5Pcreate");
  if (parallel_) {
    checked(H5Pset_fapl_mpio(access, mpi_, MPI_INFO_NULL), "H5Pset_fapl_mpio");
    checked(H5Pset_all_coll_metadata_ops(access, true), "H5Pset_all_coll_metadata_ops");
    checked(H5Pset_coll_metadata_write(access, true), "H5Pset_coll_metadata_write");
    checked(H5Pset_dxpl_mpio(transfer_, H5FD_MPIO_COLLECTIVE), "H5Pset_dxpl_mpio");
    // A rank's rows are one stretch of the file, so there is nothing to exchange before writing;
    // and Open MPI's exchange would wait for ever for a rank whose write failed.
    checked(H5Pset_dxpl_mpio_collective_opt(transfer_, H5FD_MPIO_INDIVIDUAL_IO),
            "H5Pset_dxpl_mpio_collective_opt");
  }
  file_ = checked(H5Fcreate(partial_.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access), "H5Fcreate");
}

void StoreWriter::Implementation::close() {
  // Not tried again when it fails.
  if (file_ >= 0) checked(H5Fclose(std::exchange(file_, -1)), "H5Fclose");
}

// After a failure the ranks may stand at different points within HDF5, or one may be alone with an
// exception; a collective close would then wait for ever, so the open file is left to the end of
// the process.
void StoreWriter::Implementation::abandon(bool failed) {
  const auto held = hdf5::lock();
  ended_ = true;
  if (parallel_ && failed) file_ = -1;
  transfer_ = Handle();
  try {
    if (descriptor_.valid()) remove_partial(partial_);
    close();
  } catch (const std::exception&) {
    // The disk is full or broken, which is being told already.
  }
  descriptor_.reset();
}

// Where each rank's rows begin, and their number.
std::vector<std::int64_t> StoreWriter::Implementation::row_offsets(const std::string& name,
                                                                   std::int64_t local_bytes,
                                                                   std::int64_t row_bytes) {
  const std::vector<std::int64_t> mine{local_bytes, row_bytes};
  const auto all = all_gather<std::int64_t>(comm_, mine);
  std::vector<std::int64_t> offsets{0};
  for (int rank = 0; rank < comm_.size(); ++rank) {
    const auto bytes = all.of(rank)[0];
    if (row_bytes <= 0 || all.of(rank)[1] != all.of(0)[1] || bytes % row_bytes != 0)
      throw InternalError("dataset " + name + ": rank " + std::to_string(rank) + " gives " +
                          std::to_string(bytes) + " bytes as rows of " +
                          std::to_string(all.of(rank)[1]));
    offsets.push_back(offsets.back() + bytes / row_bytes);
  }
  return offsets;
}

void StoreWriter::Implementation::write(const std::string& name, Element element,
                                        std::span<const std::byte> local,
                                        const std::vector<std::int64_t>& row_shape) {
  std::int64_t row_bytes = element.bytes;
  for (const auto extent : row_shape) row_bytes *= extent;
  const auto offsets = row_offsets(name, static_cast<std::int64_t>(local.size()), row_bytes);
  std::vector<hsize_t> shape{static_cast<hsize_t>(offsets.back())};
  shape.insert(shape.end(), row_shape.begin(), row_shape.end());
  // Space for the alignment of large data, too.
  const auto bytes = offsets.back() * row_bytes;
  needed_ += bytes + (bytes < kStripe ? 0 : kStripe) + kHeaderReserve;
  reserve();
  together("dataset " + name + ": ",
           [&] { hdf5::create_dataset(file_, name, element.type(), shape); });
  transfer(name, row_bytes, offsets, local.data());
}

void StoreWriter::Implementation::write_ragged(const std::string& name, Element element,
                                               std::span<const std::byte> local,
                                               std::span<const std::int64_t> lengths) {
  write(name + "/values", element, local, {});
  const std::int64_t mine = static_cast<std::int64_t>(local.size()) / element.bytes;
  const auto counts = all_gather<std::int64_t>(comm_, {&mine, 1}).values;
  std::int64_t end =
      std::accumulate(counts.begin(), counts.begin() + comm_.rank(), std::int64_t{0});
  std::vector<std::int64_t> offsets;
  if (comm_.rank() == 0) offsets.push_back(0);
  for (const auto length : lengths) offsets.push_back(end += length);
  write(name + "/offsets", {hdf5::type_of<std::int64_t>, sizeof(std::int64_t)},
        std::as_bytes(std::span(offsets)), {});
}

void StoreWriter::Implementation::transfer(const std::string& name, std::int64_t row_bytes,
                                           const std::vector<std::int64_t>& offsets,
                                           const std::byte* local) {
  const auto rows_of_rank = [&](int rank) { return offsets[rank + 1] - offsets[rank]; };
  std::int64_t longest = 0;
  for (int rank = 0; rank < comm_.size(); ++rank) longest = std::max(longest, rows_of_rank(rank));
  const auto step = std::max<std::int64_t>(1, kTransferBytes / row_bytes);
  for (std::int64_t done = 0; done < longest; done += step) {
    const auto slab_of = [&](int rank, const std::byte* data) {
      const auto begin = std::min(done, rows_of_rank(rank));
      return hdf5::Slab{offsets[rank] + begin, std::min(step, rows_of_rank(rank) - begin), data};
    };
    const auto own_begin = std::min(done, rows_of_rank(comm_.rank()));
    const auto own = slab_of(comm_.rank(), local + own_begin * row_bytes);
    Gathered<std::byte> pieces;
    if (!parallel_ && comm_.size() > 1)
      pieces =
          all_gather<std::byte>(comm_, {own.data, static_cast<std::size_t>(own.rows * row_bytes)});
    together("dataset " + name + ": ", [&] {
      const auto dataset = hdf5::open_dataset(file_, name);
      if (pieces.offsets.empty()) return hdf5::write_slab(dataset, transfer_, own);
      for (int rank = 0; rank < comm_.size(); ++rank)
        hdf5::write_slab(dataset, transfer_, slab_of(rank, pieces.of(rank).data()));
    });
  }
}

template <typename Value>
void StoreWriter::Implementation::attribute(const std::string& object, const std::string& key,
                                            const Value& value) {
  together(object + ": attribute " + key + ": ",
           [&] { hdf5::write_attribute(hdf5::open_object(file_, object), key, value); });
}

void StoreWriter::Implementation::annotate(const std::string& object, const Axes& axes) {
  if (axes.names.empty()) return;
  attribute(object, "axes", join(axes.names));
  attribute(object, "units", axes.units);
}

void StoreWriter::Implementation::finish() {
  attribute("/", "complete", std::int64_t{1});
  together("", [&] { checked(H5Fflush(file_, H5F_SCOPE_GLOBAL), "H5Fflush"); });
  together("", [&] { close(); });
  together("", [&] { publish(); });
  ended_ = true;
  const auto held = hdf5::lock();
  transfer_ = Handle();
}

void StoreWriter::Implementation::publish() {
  if (comm_.rank() != 0) return;
  Fault(path_.filename().string(), 0).after_record();
  hdf5::check_file(partial_);
  // Gives back what was reserved beyond the end.
  if (::ftruncate(descriptor_.get(), file_bytes(descriptor_, partial_)) != 0)
    throw_errno(partial_, "cannot be cut to its size");
  if (::fsync(descriptor_.get()) != 0) throw_errno(partial_, "cannot be flushed to disk");
  if (::rename(partial_.c_str(), path_.c_str()) != 0)
    throw_errno(partial_, "cannot be renamed to " + path_.filename().string());
  sync_directory(path_.parent_path());
}

StoreWriter::StoreWriter(Communicator& comm, const std::filesystem::path& path,
                         const StoreHeader& header)
    : implementation_(std::make_unique<Implementation>(comm, path, header)) {}

StoreWriter::~StoreWriter() = default;

template <typename T>
void StoreWriter::write_rows(const std::string& name, std::span<const T> local,
                             const std::vector<std::int64_t>& row_shape, const Axes& axes) {
  implementation_->write(name, {hdf5::type_of<T>, sizeof(T)}, std::as_bytes(local), row_shape);
  implementation_->annotate(name, axes);
}

template <typename T>
void StoreWriter::write_ragged(const std::string& name, const std::vector<std::vector<T>>& local,
                               const Axes& axes) {
  const auto [values, lengths] = flatten<T>(local);
  implementation_->write_ragged(name, {hdf5::type_of<T>, sizeof(T)},
                                std::as_bytes(std::span(values)), lengths);
  implementation_->annotate(name, axes);
}

void StoreWriter::write_strings(const std::string& name, const std::vector<std::string>& local,
                                const Axes& axes) {
  const auto [values, lengths] = flatten<std::uint8_t>(local);
  implementation_->write_ragged(name, {hdf5::type_of<std::uint8_t>, 1},
                                std::as_bytes(std::span(values)), lengths);
  implementation_->annotate(name, axes);
  implementation_->attribute(name, "encoding", std::string("utf-8"));
}

void StoreWriter::attribute(const std::string& object, const std::string& key,
                            const std::string& value) {
  implementation_->attribute(object, key, value);
}
void StoreWriter::attribute(const std::string& object, const std::string& key, double value) {
  implementation_->attribute(object, key, value);
}
void StoreWriter::attribute(const std::string& object, const std::string& key, std::int64_t value) {
  implementation_->attribute(object, key, value);
}

void StoreWriter::finish() { implementation_->finish(); }

#define QUENCH_WRITE(T)                                                                    \
  template void StoreWriter::write_rows<T>(const std::string&, std::span<const T>,         \
                                           const std::vector<std::int64_t>&, const Axes&); \
  template void StoreWriter::write_ragged<T>(const std::string&,                           \
                                             const std::vector<std::vector<T>>&, const Axes&);
QUENCH_WRITE(std::uint8_t)
QUENCH_WRITE(std::int32_t)
QUENCH_WRITE(std::int64_t)
QUENCH_WRITE(float)
QUENCH_WRITE(double)
#undef QUENCH_WRITE

}  // namespace quench::cluster
