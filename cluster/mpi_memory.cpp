#include <cstring>

#include "cluster/error.hpp"
#include "cluster/mpi_handle.hpp"
#include "cluster/node_memory.hpp"
#include "cluster/unwinding.hpp"

namespace quench::cluster {
namespace {

constexpr std::int64_t line = 64;  // bytes to which the region is aligned

// Where Open MPI finds no room on one rank, it leaves the others waiting; so all look first.
void check_room(MPI_Comm comm, std::int64_t bytes) {
  int ranks = 0;
  check_mpi(MPI_Comm_size(comm, &ranks), "MPI_Comm_size");
  auto folder = shared_folder();
  check_mpi(MPI_Bcast(&folder.room, 1, MPI_INT64_T, 0, comm), "MPI_Bcast");
  if (ranks > 1) check_shared_room(folder, bytes);  // one rank has memory of its own
}

// Rank 0 owns the whole region, the others map it.
class MpiMemory final : public SharedMemory {
 public:
  MpiMemory(MPI_Comm comm, std::int64_t bytes) : bytes_(bytes) {
    check_room(comm, bytes);
    int rank = 0;
    check_mpi(MPI_Comm_rank(comm, &rank), "MPI_Comm_rank");
    void* mine = nullptr;
    check_mpi(MPI_Win_allocate_shared(rank == 0 ? bytes + line : 0, 1, MPI_INFO_NULL, comm, &mine,
                                      &window_),
              "MPI_Win_allocate_shared");
    check_mpi(MPI_Win_set_errhandler(window_, MPI_ERRORS_RETURN), "MPI_Win_set_errhandler");
    check_mpi(MPI_Win_lock_all(MPI_MODE_NOCHECK, window_), "MPI_Win_lock_all");
    data_ = start_of(comm);
    if (rank == 0) std::memset(data_, 0, static_cast<std::size_t>(bytes));
    check_mpi(MPI_Win_sync(window_), "MPI_Win_sync");
    check_mpi(MPI_Barrier(comm), "MPI_Barrier");
    check_mpi(MPI_Win_sync(window_), "MPI_Win_sync");
  }
  // Collective, so a rank that unwinds leaves the window to the end of the process.
  ~MpiMemory() override {
    if (unwinding_) return;
    MPI_Win_unlock_all(window_);
    MPI_Win_free(&window_);
  }

  std::byte* data() override { return data_; }
  std::int64_t bytes() const override { return bytes_; }

 private:
  // The same byte on every rank, wherever each has mapped the region.
  std::byte* start_of(MPI_Comm comm) const {
    void* base = nullptr;
    MPI_Aint size = 0;
    int unit = 0;
    check_mpi(MPI_Win_shared_query(window_, 0, &size, &unit, &base), "MPI_Win_shared_query");
    auto padding =
        (line - static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(base)) % line) % line;
    check_mpi(MPI_Bcast(&padding, 1, MPI_INT64_T, 0, comm), "MPI_Bcast");
    return static_cast<std::byte*>(base) + padding;
  }

  std::int64_t bytes_;
  MPI_Win window_ = MPI_WIN_NULL;
  std::byte* data_ = nullptr;
  Unwinding unwinding_;
};

}  // namespace

std::unique_ptr<SharedMemory> make_mpi_memory(MPI_Comm comm, std::int64_t bytes) {
  return std::make_unique<MpiMemory>(comm, bytes);
}

}  // namespace quench::cluster
