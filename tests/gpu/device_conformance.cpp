#include "device_conformance.hpp"

#include <stdexcept>

#include "cluster/nccl_communicator.hpp"

namespace quench::testing {
namespace {

using namespace cluster;

// Device memory of a host buffer's size.
class Placed {
 public:
  Placed(ConstBuffer host, DeviceStream stream)
      : bytes_(host.count * size_of(host.dtype)), stream_(stream) {
    void* memory = nullptr;
    require(cudaMalloc(&memory, bytes_), "cudaMalloc");
    buffer_ = {memory, host.count, host.dtype};
  }
  ~Placed() { cudaFree(buffer_.data); }
  Placed(const Placed&) = delete;
  Placed& operator=(const Placed&) = delete;

  Placed& fill(ConstBuffer host) {
    if (bytes_ > 0)
      require(cudaMemcpyAsync(buffer_.data, host.data, bytes_, cudaMemcpyHostToDevice, stream_),
              "cudaMemcpyAsync");
    return *this;
  }
  void copy_to(Buffer host) const {
    if (bytes_ > 0)
      require(cudaMemcpyAsync(host.data, buffer_.data, bytes_, cudaMemcpyDeviceToHost, stream_),
              "cudaMemcpyAsync");
    require(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
  }
  Buffer buffer() const { return buffer_; }
  ConstBuffer constant() const { return {buffer_.data, buffer_.count, buffer_.dtype}; }

 private:
  std::size_t bytes_;
  DeviceStream stream_;
  Buffer buffer_;
};

ConstBuffer as_const(Buffer buffer) { return {buffer.data, buffer.count, buffer.dtype}; }

// What is only written is not copied in: a collective that leaves a part of it out shows.
class PlacingCommunicator final : public Communicator {
 public:
  PlacingCommunicator(std::unique_ptr<Communicator> inner, DeviceStream stream)
      : inner_(std::move(inner)), stream_(stream) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  std::string name() const override { return inner_->name(); }
  void barrier() override { inner_->barrier(); }

  void broadcast(Buffer buffer, int root) override {
    Placed placed(as_const(buffer), stream_);
    if (root == rank()) placed.fill(as_const(buffer));
    inner_->broadcast(placed.buffer(), root);
    placed.copy_to(buffer);
  }
  void all_reduce(Buffer buffer, Op op) override {
    Placed placed(as_const(buffer), stream_);
    inner_->all_reduce(placed.fill(as_const(buffer)).buffer(), op);
    placed.copy_to(buffer);
  }
  void all_gather_v(ConstBuffer local, Buffer out, std::span<const std::int64_t> counts) override {
    Placed placed(local, stream_), result(as_const(out), stream_);
    inner_->all_gather_v(placed.fill(local).constant(), result.buffer(), counts);
    result.copy_to(out);
  }
  void reduce_scatter_v(ConstBuffer in, Buffer local, std::span<const std::int64_t> counts,
                        Op op) override {
    Placed placed(in, stream_), result(as_const(local), stream_);
    inner_->reduce_scatter_v(placed.fill(in).constant(), result.buffer(), counts, op);
    result.copy_to(local);
  }

  std::unique_ptr<Communicator> split(int color, int key) override {
    return std::make_unique<PlacingCommunicator>(inner_->split(color, key), stream_);
  }
  std::unique_ptr<Communicator> split_by_node() override {
    return std::make_unique<PlacingCommunicator>(inner_->split_by_node(), stream_);
  }
  std::unique_ptr<SharedMemory> shared_memory(std::int64_t bytes) override {
    return inner_->shared_memory(bytes);
  }
  std::unique_ptr<TicketCounter> tickets(
      std::int64_t n, std::function<void(std::int64_t handed_out)> observer) override {
    return inner_->tickets(n, std::move(observer));
  }

 private:
  std::unique_ptr<Communicator> inner_;
  DeviceStream stream_;
};

}  // namespace

void require(cudaError_t status, const char* call) {
  if (status != cudaSuccess)
    throw std::runtime_error(std::string(call) + ": " + cudaGetErrorString(status));
}

Stream::Stream() { require(cudaStreamCreate(&stream_), "cudaStreamCreate"); }

void run_on_device(Communicator& host, const Device& device, const ConformanceCheck& check) {
  make_current(device);
  const Stream stream;
  PlacingCommunicator placing(make_nccl_communicator(host, device, stream.get()), stream.get());
  check.run(placing);
}

}  // namespace quench::testing
