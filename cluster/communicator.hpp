#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace quench::cluster {

enum class DType : std::uint8_t { u8, i32, i64, u64, f32, f64 };
enum class Op : std::uint8_t { sum, max, min };

std::int64_t size_of(DType dtype);

// A typed view of memory; counts are elements, 64-bit everywhere. The memory is the host's, for a
// DeviceCommunicator its device's.
struct ConstBuffer {
  const void* data = nullptr;
  std::int64_t count = 0;
  DType dtype = DType::u8;
};
struct Buffer {
  void* data = nullptr;
  std::int64_t count = 0;
  DType dtype = DType::u8;
};

// Memory that all ranks of one node see at the same content (one copy a node). Rank 0 of the node's
// communicator fills it, a barrier publishes it, afterwards it is read-only by convention.
class SharedMemory {
 public:
  virtual ~SharedMemory() = default;
  virtual std::byte* data() = 0;
  virtual std::int64_t bytes() const = 0;
};

// Hands out the integers 0 .. n-1, each to exactly one caller, in increasing order of calls.
// A caller that is busy never delays another one. next() communicates with at most one helper
// thread. Destroying it on rank 0 waits until it is destroyed on all ranks, except when an
// exception calls rank 0 away: then the counter is closed, and the others go on.
class TicketCounter {
 public:
  virtual ~TicketCounter() = default;
  // The next ticket, or nothing when all are handed out or close() was called by anyone.
  virtual std::optional<std::int64_t> next() = 0;
  // No more tickets for anyone from now on.
  virtual void close() = 0;
};

// What ranks say to each other. All implementations (self, threads, MPI, NCCL) have the same
// semantics: every method but rank() and size() is collective over the communicator, in one order.
class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  // The communicator behind a decorator; itself for any other.
  virtual Communicator& underlying() { return *this; }
  virtual std::string name() const = 0;  // "self", "threads", "mpi", "nccl"

  virtual void barrier() = 0;
  // Every rank's buffer becomes root's. Counts must agree.
  virtual void broadcast(Buffer buffer, int root) = 0;
  // Element-wise over ranks, in place; every rank gets the same bits.
  virtual void all_reduce(Buffer buffer, Op op) = 0;
  // out = the ranks' pieces in rank order; counts[r] elements from rank r (some may be 0). `local`
  // and `out` must not overlap, nor must `in` and `local` of reduce_scatter_v.
  virtual void all_gather_v(ConstBuffer local, Buffer out,
                            std::span<const std::int64_t> counts) = 0;
  // The element-wise reduction of `in` over ranks, of which rank r keeps its counts[r] elements.
  virtual void reduce_scatter_v(ConstBuffer in, Buffer local, std::span<const std::int64_t> counts,
                                Op op) = 0;

  // Ranks of the same color (>= 0) form a new communicator, ordered by (key, rank).
  virtual std::unique_ptr<Communicator> split(int color, int key) = 0;
  // The ranks that share memory with this one, in rank order.
  virtual std::unique_ptr<Communicator> split_by_node() = 0;
  // One region a communicator whose ranks share memory (see split_by_node); zero-filled.
  virtual std::unique_ptr<SharedMemory> shared_memory(std::int64_t bytes) = 0;
  // A counter over [0, n). Collective to make and to destroy. On rank 0 `observer` is told how many
  // tickets have been handed out, from any thread, each time one is.
  virtual std::unique_ptr<TicketCounter> tickets(
      std::int64_t n, std::function<void(std::int64_t handed_out)> observer) = 0;
};

std::unique_ptr<Communicator> make_self_communicator();

// Runs body(communicator) on `size` threads that form one communicator; rethrows the first
// exception. A rank that throws makes the others' pending calls throw ClusterError instead of
// waiting for ever.
void run_on_threads(int size, const std::function<void(Communicator&)>& body);

}  // namespace quench::cluster
