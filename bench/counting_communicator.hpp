#pragma once

#include <memory>
#include <utility>

#include "cluster/communicator.hpp"

namespace quench::bench {

// Counts the bytes that a rank sends in reductions and gathers when they are done by the algorithms
// of least volume (ring, or reduce-scatter and all-gather).
class CountingCommunicator final : public cluster::Communicator {
 public:
  explicit CountingCommunicator(cluster::Communicator& inner) : inner_(inner) {}

  std::int64_t bytes() const { return static_cast<std::int64_t>(bytes_); }

  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  std::string name() const override { return inner_.name(); }
  Communicator& underlying() override { return inner_.underlying(); }
  void barrier() override { inner_.barrier(); }
  void broadcast(cluster::Buffer buffer, int root) override { inner_.broadcast(buffer, root); }
  void all_reduce(cluster::Buffer buffer, cluster::Op op) override {
    count(2 * buffer.count * cluster::size_of(buffer.dtype));
    inner_.all_reduce(buffer, op);
  }
  void all_gather_v(cluster::ConstBuffer local, cluster::Buffer out,
                    std::span<const std::int64_t> counts) override {
    count(out.count * cluster::size_of(out.dtype));
    inner_.all_gather_v(local, out, counts);
  }
  void reduce_scatter_v(cluster::ConstBuffer in, cluster::Buffer local,
                        std::span<const std::int64_t> counts, cluster::Op op) override {
    count(in.count * cluster::size_of(in.dtype));
    inner_.reduce_scatter_v(in, local, counts, op);
  }
  std::unique_ptr<Communicator> split(int color, int key) override {
    return inner_.split(color, key);
  }
  std::unique_ptr<Communicator> split_by_node() override { return inner_.split_by_node(); }
  std::unique_ptr<cluster::SharedMemory> shared_memory(std::int64_t bytes) override {
    return inner_.shared_memory(bytes);
  }
  std::unique_ptr<cluster::TicketCounter> tickets(
      std::int64_t n, std::function<void(std::int64_t)> observer) override {
    return inner_.tickets(n, std::move(observer));
  }

 private:
  void count(std::int64_t payload) {
    bytes_ += static_cast<double>(payload) * (size() - 1) / size();
  }

  cluster::Communicator& inner_;
  double bytes_ = 0;
};

}  // namespace quench::bench
