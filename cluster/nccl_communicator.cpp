#include "cluster/nccl_communicator.hpp"

#include <nccl.h>

#include <algorithm>
#include <thread>

#include "cluster/buffers.hpp"
#include "cluster/collectives.hpp"
#include "cluster/cuda_calls.hpp"
#include "cluster/unwinding.hpp"

namespace quench::cluster {
namespace {

ncclDataType_t nccl_type(DType dtype) {
  switch (dtype) {
    case DType::u8:
      return ncclUint8;
    case DType::i32:
      return ncclInt32;
    case DType::i64:
      return ncclInt64;
    case DType::u64:
      return ncclUint64;
    case DType::f32:
      return ncclFloat32;
    case DType::f64:
      return ncclFloat64;
  }
  throw InternalError("unknown data type");
}

ncclRedOp_t nccl_op(Op op) {
  switch (op) {
    case Op::sum:
      return ncclSum;
    case Op::max:
      return ncclMax;
    case Op::min:
      return ncclMin;
  }
  throw InternalError("unknown reduction");
}

bool all_equal(std::span<const std::int64_t> counts) {
  return std::ranges::adjacent_find(counts, std::not_equal_to{}) == counts.end();
}

struct FreeOnDevice {
  void operator()(void* memory) const { cudaFree(memory); }
};

class NcclCommunicator final : public DeviceCommunicator {
 public:
  NcclCommunicator(std::shared_ptr<Communicator> host, Device device, DeviceStream stream,
                   Watchdog* watchdog)
      : host_(std::move(host)), device_(std::move(device)), stream_(stream), watchdog_(watchdog) {
    agree(*host_, [&] {
      if (!device_.is_cuda()) throw InternalError("NCCL needs a CUDA device, not the CPU");
      make_current(device_);
      void* cell = nullptr;
      check_cuda(cudaMalloc(&cell, 1), "cudaMalloc");
      cell_.reset(cell);
      check_cuda(cudaMemset(cell, 0, 1), "cudaMemset");
    });
    refuse_shared_devices();
    connect();
  }
  // A rank that leaves because of an exception does not wait for the others.
  ~NcclCommunicator() override {
    if (comm_ == nullptr) return;
    if (unwinding_)
      ncclCommAbort(comm_);
    else
      ncclCommDestroy(comm_);
  }

  int rank() const override { return host_->rank(); }
  int size() const override { return host_->size(); }
  std::string name() const override { return "nccl"; }

  void barrier() override {
    all_reduce({cell_.get(), 1, DType::u8}, Op::max);
    wait();
  }

  void broadcast(Buffer buffer, int root) override {
    check_root(*this, root);
    if (buffer.count == 0) return;
    call("ncclBroadcast", [&] {
      return ncclBroadcast(buffer.data, buffer.data, buffer.count, nccl_type(buffer.dtype), root,
                           comm_, stream_);
    });
  }

  void all_reduce(Buffer buffer, Op op) override {
    if (buffer.count == 0) return;
    call("ncclAllReduce", [&] {
      return ncclAllReduce(buffer.data, buffer.data, buffer.count, nccl_type(buffer.dtype),
                           nccl_op(op), comm_, stream_);
    });
  }

  // Pieces of different sizes: every rank broadcasts its own, as one launch.
  void all_gather_v(ConstBuffer local, Buffer out, std::span<const std::int64_t> counts) override {
    check_pieces(*this, local, as_const(out), counts);
    const auto type = nccl_type(out.dtype);
    if (out.count == 0) return;
    if (all_equal(counts))
      return call("ncclAllGather", [&] {
        return ncclAllGather(local.data, out.data, local.count, type, comm_, stream_);
      });
    call_for_pieces("ncclBroadcast", counts, [&](int root, std::int64_t offset) {
      void* piece = slice(out, offset, counts[root]).data;
      const void* from = root == rank() ? local.data : piece;
      return ncclBroadcast(from, piece, counts[root], type, root, comm_, stream_);
    });
  }

  // Pieces of different sizes: each is reduced to its rank, as one launch.
  void reduce_scatter_v(ConstBuffer in, Buffer local, std::span<const std::int64_t> counts,
                        Op op) override {
    check_pieces(*this, as_const(local), in, counts);
    const auto type = nccl_type(in.dtype);
    if (in.count == 0) return;
    if (all_equal(counts))
      return call("ncclReduceScatter", [&] {
        return ncclReduceScatter(in.data, local.data, local.count, type, nccl_op(op), comm_,
                                 stream_);
      });
    call_for_pieces("ncclReduce", counts, [&](int root, std::int64_t offset) {
      return ncclReduce(slice(in, offset, counts[root]).data, local.data, counts[root], type,
                        nccl_op(op), root, comm_, stream_);
    });
  }

  std::unique_ptr<Communicator> split(int color, int key) override {
    return over(quiet_host().split(color, key));
  }
  std::unique_ptr<Communicator> split_by_node() override {
    return over(quiet_host().split_by_node());
  }
  std::unique_ptr<SharedMemory> shared_memory(std::int64_t bytes) override {
    return quiet_host().shared_memory(bytes);
  }
  std::unique_ptr<TicketCounter> tickets(
      std::int64_t n, std::function<void(std::int64_t handed_out)> observer) override {
    return quiet_host().tickets(n, std::move(observer));
  }

  // Polls, because a collective whose partner has died never ends by itself: NCCL reports it here.
  void wait() override {
    const Watchdog::Scope watched(watchdog_, "a collective of NCCL");
    for (;;) {
      const auto state = cudaStreamQuery(stream_);
      if (state != cudaErrorNotReady) {
        check_cuda(state, "cudaStreamQuery");
        return check_earlier_calls();
      }
      check_earlier_calls();
      std::this_thread::yield();
    }
  }

 private:
  void connect() {
    ncclUniqueId id{};
    agree(*host_, [&] {
      if (rank() == 0) check(ncclGetUniqueId(&id), "ncclGetUniqueId");
    });
    host_->broadcast({&id, sizeof id, DType::u8}, 0);
    const Watchdog::Scope watched(watchdog_, "ncclCommInitRank");
    check(ncclCommInitRank(&comm_, size(), id, rank()), "ncclCommInitRank");
  }

  // NCCL says no more of it than "invalid usage".
  void refuse_shared_devices() {
    const auto uuids = all_gather(*host_, std::span<const char>(device_.uuid));
    agree(*host_, [&] {
      for (int r = 0; r < rank(); ++r)
        if (std::ranges::equal(uuids.of(r), device_.uuid))
          throw ClusterError("ranks " + std::to_string(r) + " and " + std::to_string(rank()) +
                             " of a group share the device " + device_.uuid +
                             ": NCCL needs one for each; start fewer ranks a node");
    });
  }

  template <typename F>
  void call(const char* name, F f) {
    check_earlier_calls();
    check(f(), name);
  }

  // f(rank, offset) for each piece that is not empty, in one group of calls.
  template <typename F>
  void call_for_pieces(const char* name, std::span<const std::int64_t> counts, F f) {
    const auto offsets = offsets_of(counts);
    call(name, [&] {
      auto status = ncclGroupStart();
      for (int r = 0; r < size() && status == ncclSuccess; ++r)
        if (counts[r] > 0) status = f(r, offsets[r]);
      const auto ended = ncclGroupEnd();
      return status == ncclSuccess ? ended : status;
    });
  }

  void check_earlier_calls() {
    if (comm_ == nullptr) throw ClusterError("the NCCL communicator was aborted after an error");
    auto status = ncclSuccess;
    check(ncclCommGetAsyncError(comm_, &status), "ncclCommGetAsyncError");
    check(status, "an earlier collective of NCCL");
  }

  // An error leaves the communicator in no state to go on.
  void check(ncclResult_t status, const char* name) {
    if (status == ncclSuccess) return;
    const auto message = std::string(name) + " failed on rank " + std::to_string(rank()) + " of " +
                         std::to_string(size()) + " (" + describe(device_) +
                         "): " + ncclGetErrorString(status) + ": " + ncclGetLastError(comm_);
    if (comm_ != nullptr) ncclCommAbort(comm_);
    comm_ = nullptr;
    throw ClusterError(message);
  }

  Communicator& quiet_host() {
    wait();
    return *host_;
  }

  std::unique_ptr<Communicator> over(std::shared_ptr<Communicator> host) const {
    return std::make_unique<NcclCommunicator>(std::move(host), device_, stream_, watchdog_);
  }

  std::shared_ptr<Communicator> host_;
  Device device_;
  DeviceStream stream_;
  Watchdog* watchdog_;
  std::unique_ptr<void, FreeOnDevice> cell_;  // what a barrier reduces
  ncclComm_t comm_ = nullptr;
  Unwinding unwinding_;
};

}  // namespace

std::unique_ptr<DeviceCommunicator> make_nccl_communicator(Communicator& host, const Device& device,
                                                           DeviceStream stream,
                                                           Watchdog* watchdog) {
  const std::shared_ptr<Communicator> not_owned(std::shared_ptr<void>(), &host);
  return std::make_unique<NcclCommunicator>(not_owned, device, stream, watchdog);
}

}  // namespace quench::cluster
