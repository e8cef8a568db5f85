#include "cluster/buffers.hpp"
#include "cluster/tickets.hpp"

namespace quench::cluster {
namespace {

class SelfCommunicator final : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  std::string name() const override { return "self"; }

  void barrier() override {}
  void broadcast(Buffer, int root) override { check_root(*this, root); }
  void all_reduce(Buffer, Op) override {}
  void all_gather_v(ConstBuffer local, Buffer out, std::span<const std::int64_t> counts) override {
    check_pieces(*this, local, as_const(out), counts);
    copy_elements(out, local);
  }
  void reduce_scatter_v(ConstBuffer in, Buffer local, std::span<const std::int64_t> counts,
                        Op) override {
    check_pieces(*this, as_const(local), in, counts);
    copy_elements(local, in);
  }

  std::unique_ptr<Communicator> split(int, int) override { return make_self_communicator(); }
  std::unique_ptr<Communicator> split_by_node() override { return make_self_communicator(); }
  std::unique_ptr<SharedMemory> shared_memory(std::int64_t bytes) override {
    return make_local_memory(allocate_lines(bytes), bytes);
  }
  std::unique_ptr<TicketCounter> tickets(std::int64_t n, TicketObserver observer) override {
    return make_local_tickets(n, std::move(observer));
  }
};

}  // namespace

std::unique_ptr<Communicator> make_self_communicator() {
  return std::make_unique<SelfCommunicator>();
}

}  // namespace quench::cluster
