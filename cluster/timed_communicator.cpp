#include "cluster/timed_communicator.hpp"

namespace quench::cluster {
namespace {

class TimedCommunicator final : public Communicator {
 public:
  TimedCommunicator(std::unique_ptr<Communicator> inner, Timers& timers, Watchdog* watchdog)
      : inner_(std::move(inner)), timers_(timers), watchdog_(watchdog) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  std::string name() const override { return inner_->name(); }
  Communicator& underlying() override { return inner_->underlying(); }

  void barrier() override {
    const Call call(*this, "collective/barrier");
    inner_->barrier();
  }
  void broadcast(Buffer buffer, int root) override {
    const Call call(*this, "collective/broadcast");
    inner_->broadcast(buffer, root);
  }
  void all_reduce(Buffer buffer, Op op) override {
    const Call call(*this, "collective/all_reduce");
    inner_->all_reduce(buffer, op);
  }
  void all_gather_v(ConstBuffer local, Buffer out, std::span<const std::int64_t> counts) override {
    const Call call(*this, "collective/all_gather_v");
    inner_->all_gather_v(local, out, counts);
  }
  void reduce_scatter_v(ConstBuffer in, Buffer local, std::span<const std::int64_t> counts,
                        Op op) override {
    const Call call(*this, "collective/reduce_scatter_v");
    inner_->reduce_scatter_v(in, local, counts, op);
  }

  std::unique_ptr<Communicator> split(int color, int key) override {
    return make_timed(inner_->split(color, key), timers_, watchdog_);
  }
  std::unique_ptr<Communicator> split_by_node() override {
    return make_timed(inner_->split_by_node(), timers_, watchdog_);
  }
  std::unique_ptr<SharedMemory> shared_memory(std::int64_t bytes) override {
    return inner_->shared_memory(bytes);
  }
  std::unique_ptr<TicketCounter> tickets(
      std::int64_t n, std::function<void(std::int64_t handed_out)> observer) override {
    return inner_->tickets(n, std::move(observer));
  }

 private:
  // A collective under way, "collective/barrier".
  struct Call {
    Call(TimedCommunicator& comm, const char* name)
        : timer(&comm.timers_, name), watched(comm.watchdog_, name) {}
    Timers::Scope timer;
    Watchdog::Scope watched;
  };

  std::unique_ptr<Communicator> inner_;
  Timers& timers_;
  Watchdog* watchdog_;
};

}  // namespace

std::unique_ptr<Communicator> make_timed(std::unique_ptr<Communicator> communicator, Timers& timers,
                                         Watchdog* watchdog) {
  return std::make_unique<TimedCommunicator>(std::move(communicator), timers, watchdog);
}

}  // namespace quench::cluster
