#include "cluster/timed_communicator.hpp"

namespace quench::cluster {
namespace {

class TimedCommunicator final : public Communicator {
 public:
  TimedCommunicator(std::unique_ptr<Communicator> inner, Timers& timers)
      : inner_(std::move(inner)), timers_(timers) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  std::string name() const override { return inner_->name(); }
  Communicator& underlying() override { return inner_->underlying(); }

  void barrier() override {
    const auto timer = timers_.scope("collective/barrier");
    inner_->barrier();
  }
  void broadcast(Buffer buffer, int root) override {
    const auto timer = timers_.scope("collective/broadcast");
    inner_->broadcast(buffer, root);
  }
  void all_reduce(Buffer buffer, Op op) override {
    const auto timer = timers_.scope("collective/all_reduce");
    inner_->all_reduce(buffer, op);
  }
  void all_gather_v(ConstBuffer local, Buffer out, std::span<const std::int64_t> counts) override {
    const auto timer = timers_.scope("collective/all_gather_v");
    inner_->all_gather_v(local, out, counts);
  }
  void reduce_scatter_v(ConstBuffer in, Buffer local, std::span<const std::int64_t> counts,
                        Op op) override {
    const auto timer = timers_.scope("collective/reduce_scatter_v");
    inner_->reduce_scatter_v(in, local, counts, op);
  }

  std::unique_ptr<Communicator> split(int color, int key) override {
    return make_timed(inner_->split(color, key), timers_);
  }
  std::unique_ptr<Communicator> split_by_node() override {
    return make_timed(inner_->split_by_node(), timers_);
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
  Timers& timers_;
};

}  // namespace

std::unique_ptr<Communicator> make_timed(std::unique_ptr<Communicator> communicator,
                                         Timers& timers) {
  return std::make_unique<TimedCommunicator>(std::move(communicator), timers);
}

}  // namespace quench::cluster
