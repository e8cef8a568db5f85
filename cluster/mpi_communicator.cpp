#include <algorithm>
#include <array>

#include "cluster/buffers.hpp"
#include "cluster/error.hpp"
#include "cluster/mpi_handle.hpp"
#include "cluster/unwinding.hpp"

namespace quench::cluster {
namespace {

MPI_Datatype mpi_type(DType dtype) {
  switch (dtype) {
    case DType::u8:
      return MPI_UINT8_T;
    case DType::i32:
      return MPI_INT32_T;
    case DType::i64:
      return MPI_INT64_T;
    case DType::u64:
      return MPI_UINT64_T;
    case DType::f32:
      return MPI_FLOAT;
    case DType::f64:
      return MPI_DOUBLE;
  }
  throw InternalError("unknown data type");
}

MPI_Op mpi_op(Op op) {
  switch (op) {
    case Op::sum:
      return MPI_SUM;
    case Op::max:
      return MPI_MAX;
    case Op::min:
      return MPI_MIN;
  }
  throw InternalError("unknown reduction");
}

// Counts or offsets of a total that is known to fit.
std::vector<int> as_int(std::span<const std::int64_t> values) {
  return {values.begin(), values.end()};
}

class MpiCommunicator final : public Communicator {
 public:
  // Owns `comm`.
  MpiCommunicator(MPI_Comm comm, std::int64_t max_count) : comm_(comm), max_count_(max_count) {
    check_mpi(MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
    check_mpi(MPI_Comm_rank(comm_, &rank_), "MPI_Comm_rank");
    check_mpi(MPI_Comm_size(comm_, &size_), "MPI_Comm_size");
  }
  ~MpiCommunicator() override {
    int finalized = 0;
    if (!unwinding_ && MPI_Finalized(&finalized) == MPI_SUCCESS && !finalized)
      MPI_Comm_free(&comm_);
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::string name() const override { return "mpi"; }
  MPI_Comm handle() const { return comm_; }

  // Also orders what ranks of one node store to and load from shared memory.
  void barrier() override {
    __sync_synchronize();
    check_mpi(MPI_Barrier(comm_), "MPI_Barrier");
    __sync_synchronize();
  }

  void broadcast(Buffer buffer, int root) override {
    check_root(*this, root);
    in_chunks(buffer.count, [&](std::int64_t offset, int count) {
      const auto chunk = slice(buffer, offset, count);
      check_mpi(MPI_Bcast(chunk.data, count, mpi_type(buffer.dtype), root, comm_), "MPI_Bcast");
    });
  }

  void all_reduce(Buffer buffer, Op op) override {
    in_chunks(buffer.count, [&](std::int64_t offset, int count) {
      const auto chunk = slice(buffer, offset, count);
      check_mpi(
          MPI_Allreduce(MPI_IN_PLACE, chunk.data, count, mpi_type(buffer.dtype), mpi_op(op), comm_),
          "MPI_Allreduce");
    });
  }

  // Beyond what one call can address, every rank broadcasts its piece.
  void all_gather_v(ConstBuffer local, Buffer out, std::span<const std::int64_t> counts) override {
    check_pieces(*this, local, as_const(out), counts);
    const auto offsets = offsets_of(counts);
    if (out.count <= max_count_) return all_gather_at_once(local, out, counts, offsets);
    copy_elements(slice(out, offsets[rank_], local.count), local);
    for (int r = 0; r < size_; ++r) broadcast(slice(out, offsets[r], counts[r]), r);
  }

  // Beyond what one call can address, every rank's piece is reduced on its own.
  void reduce_scatter_v(ConstBuffer in, Buffer local, std::span<const std::int64_t> counts,
                        Op op) override {
    check_pieces(*this, as_const(local), in, counts);
    const auto offsets = offsets_of(counts);
    if (in.count <= max_count_) {
      check_mpi(MPI_Reduce_scatter(in.data, local.data, as_int(counts).data(), mpi_type(in.dtype),
                                   mpi_op(op), comm_),
                "MPI_Reduce_scatter");
      return;
    }
    for (int r = 0; r < size_; ++r) reduce_to(r, slice(in, offsets[r], counts[r]), local, op);
  }

  std::unique_ptr<Communicator> split(int color, int key) override {
    if (color < 0) throw InternalError("negative color " + std::to_string(color));
    MPI_Comm part = MPI_COMM_NULL;
    check_mpi(MPI_Comm_split(comm_, color, key, &part), "MPI_Comm_split");
    return std::make_unique<MpiCommunicator>(part, max_count_);
  }

  std::unique_ptr<Communicator> split_by_node() override {
    MPI_Comm part = MPI_COMM_NULL;
    check_mpi(MPI_Comm_split_type(comm_, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &part),
              "MPI_Comm_split_type");
    return std::make_unique<MpiCommunicator>(part, max_count_);
  }

  // A rank alone on its node does not depend on the size of a memory file system.
  std::unique_ptr<SharedMemory> shared_memory(std::int64_t bytes) override {
    if (size_ == 1) return make_local_memory(allocate_lines(bytes), bytes);
    return make_mpi_memory(comm_, bytes);
  }

  std::unique_ptr<TicketCounter> tickets(std::int64_t n, TicketObserver observer) override {
    return make_mpi_tickets(comm_, n, std::move(observer));
  }

 private:
  // Calls f(offset, count) for pieces that an MPI call can take.
  template <typename F>
  void in_chunks(std::int64_t count, F f) const {
    for (std::int64_t offset = 0; offset < count; offset += max_count_)
      f(offset, static_cast<int>(std::min(max_count_, count - offset)));
  }

  void all_gather_at_once(ConstBuffer local, Buffer out, std::span<const std::int64_t> counts,
                          std::span<const std::int64_t> offsets) {
    const auto type = mpi_type(out.dtype);
    check_mpi(MPI_Allgatherv(local.data, static_cast<int>(local.count), type, out.data,
                             as_int(counts).data(), as_int(offsets).data(), type, comm_),
              "MPI_Allgatherv");
  }

  void reduce_to(int root, ConstBuffer piece, Buffer local, Op op) {
    in_chunks(piece.count, [&](std::int64_t offset, int count) {
      const auto from = slice(piece, offset, count);
      void* to = rank_ == root ? slice(local, offset, count).data : nullptr;
      check_mpi(MPI_Reduce(from.data, to, count, mpi_type(piece.dtype), mpi_op(op), root, comm_),
                "MPI_Reduce");
    });
  }

  MPI_Comm comm_;
  std::int64_t max_count_;
  int rank_ = 0;
  int size_ = 1;
  Unwinding unwinding_;
};

}  // namespace

void check_mpi(int status, const char* call) {
  if (status == MPI_SUCCESS) return;
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0, rank = -1;
  MPI_Error_string(status, text.data(), &length);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  throw ClusterError(std::string(call) + " failed on rank " + std::to_string(rank) + ": " +
                     std::string(text.data(), length));
}

MPI_Comm mpi_handle(Communicator& comm) {
  const auto* mpi = dynamic_cast<const MpiCommunicator*>(&comm.underlying());
  return mpi ? mpi->handle() : MPI_COMM_NULL;
}

std::unique_ptr<Communicator> make_mpi_communicator(MPI_Comm source, std::int64_t max_count) {
  MPI_Comm own = MPI_COMM_NULL;
  check_mpi(MPI_Comm_dup(source, &own), "MPI_Comm_dup");
  return std::make_unique<MpiCommunicator>(own, max_count);
}

}  // namespace quench::cluster
