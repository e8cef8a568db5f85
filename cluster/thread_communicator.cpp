#include <algorithm>
#include <exception>
#include <thread>
#include <utility>

#include "cluster/buffers.hpp"
#include "cluster/error.hpp"
#include "cluster/partition.hpp"
#include "cluster/thread_group.hpp"
#include "cluster/tickets.hpp"
#include "cluster/unwinding.hpp"

namespace quench::cluster {
namespace {

struct SharedTickets {
  SharedTickets(std::int64_t n, TicketObserver observer, int ranks)
      : state(n, std::move(observer)), present(ranks) {}
  TicketState state;
  int present;  // ranks that have not left; under the domain's mutex
};

class ThreadTickets final : public TicketCounter {
 public:
  ThreadTickets(std::shared_ptr<ThreadDomain> domain, std::shared_ptr<SharedTickets> shared,
                bool is_root)
      : domain_(std::move(domain)), shared_(std::move(shared)), is_root_(is_root) {}

  // The root stays until all have left, so that its observer hears of every ticket.
  ~ThreadTickets() override {
    domain_->change([&] { --shared_->present; });
    if (!is_root_) return;
    if (unwinding_) shared_->state.close();
    if (!unwinding_) domain_->wait_for([&] { return shared_->present == 0; });
    shared_->state.forget_observer();
  }

  std::optional<std::int64_t> next() override {
    domain_->check();
    return shared_->state.take();
  }
  void close() override { shared_->state.close(); }

 private:
  std::shared_ptr<ThreadDomain> domain_;
  std::shared_ptr<SharedTickets> shared_;
  bool is_root_;
  Unwinding unwinding_;
};

class ThreadCommunicator final : public Communicator {
 public:
  ThreadCommunicator(std::shared_ptr<ThreadGroup> group, int rank)
      : group_(std::move(group)), rank_(rank) {}

  int rank() const override { return rank_; }
  int size() const override { return group_->size(); }
  std::string name() const override { return "threads"; }

  void barrier() override {
    group_->exchange(rank_, {}, [](auto) {});
  }

  void broadcast(Buffer buffer, int root) override {
    check_root(*this, root);
    exchange_alike(buffer, [&](std::span<const ThreadSlot> slots) {
      if (rank_ != root) copy_elements(buffer, as_const(slots[root].buffer));
    });
  }

  // Each rank reduces its share of the elements, in rank order, and writes it to all buffers: an
  // element is reduced once, so all ranks get the same bits, and no two ranks touch the same one.
  void all_reduce(Buffer buffer, Op op) override {
    const auto share = rows_of(buffer.count, size(), rank_);
    exchange_alike(buffer, [&](std::span<const ThreadSlot> slots) {
      const auto part = [&](int r) { return slice(slots[r].buffer, share.begin, share.size()); };
      for (int r = 1; r < size(); ++r) reduce_elements(part(0), as_const(part(r)), op);
      for (int r = 1; r < size(); ++r) copy_elements(part(r), as_const(part(0)));
    });
  }

  void all_gather_v(ConstBuffer local, Buffer out, std::span<const std::int64_t> counts) override {
    check_pieces(*this, local, as_const(out), counts);
    const auto offsets = offsets_of(counts);
    bool alike = true;
    group_->exchange(rank_, published(local), [&](std::span<const ThreadSlot> slots) {
      for (int r = 0; r < size(); ++r) {
        const auto& piece = slots[r].buffer;
        alike = alike && piece.count == counts[r] && piece.dtype == out.dtype;
        if (alike) copy_elements(slice(out, offsets[r], counts[r]), as_const(piece));
      }
    });
    require_alike(alike);
  }

  void reduce_scatter_v(ConstBuffer in, Buffer local, std::span<const std::int64_t> counts,
                        Op op) override {
    check_pieces(*this, as_const(local), in, counts);
    const auto begin = offsets_of(counts)[rank_];
    exchange_alike(published(in).buffer, [&](std::span<const ThreadSlot> slots) {
      const auto part = [&](int r) { return as_const(slice(slots[r].buffer, begin, local.count)); };
      copy_elements(local, part(0));
      for (int r = 1; r < size(); ++r) reduce_elements(local, part(r), op);
    });
  }

  std::unique_ptr<Communicator> split(int color, int key) override {
    std::vector<int> members;  // ranks of this color, by (key, rank)
    const ThreadSlot mine{.color = color, .key = key};
    group_->exchange(rank_, mine, [&](std::span<const ThreadSlot> slots) {
      for (int r = 0; r < size(); ++r)
        if (slots[r].color == color) members.push_back(r);
      std::ranges::stable_sort(members, {}, [&](int r) { return slots[r].key; });
    });
    const auto group = share_from<ThreadGroup>(members.front(), [&] {
      return std::make_shared<ThreadGroup>(group_->domain(), static_cast<int>(members.size()));
    });
    const auto place = std::ranges::find(members, rank_) - members.begin();
    return std::make_unique<ThreadCommunicator>(group, static_cast<int>(place));
  }

  std::unique_ptr<Communicator> split_by_node() override { return split(0, rank_); }

  std::unique_ptr<SharedMemory> shared_memory(std::int64_t bytes) override {
    return make_local_memory(share_from<std::byte>(0, [&] { return allocate_lines(bytes); }),
                             bytes);
  }

  std::unique_ptr<TicketCounter> tickets(std::int64_t n, TicketObserver observer) override {
    const auto make = [&] {
      return std::make_shared<SharedTickets>(n, std::move(observer), size());
    };
    return std::make_unique<ThreadTickets>(group_->domain(), share_from<SharedTickets>(0, make),
                                           rank_ == 0);
  }

 private:
  // What rank `owner` makes, for all.
  template <typename T, typename Make>
  std::shared_ptr<T> share_from(int owner, Make make) {
    ThreadSlot mine;
    if (rank_ == owner) mine.shared = make();
    std::shared_ptr<T> result;
    group_->exchange(rank_, std::move(mine), [&](std::span<const ThreadSlot> slots) {
      result = std::static_pointer_cast<T>(slots[owner].shared);
    });
    return result;
  }

  // exchange() of buffers that must agree in size and type.
  template <typename Work>
  void exchange_alike(Buffer buffer, Work work) {
    bool alike = true;
    group_->exchange(rank_, {.buffer = buffer}, [&](std::span<const ThreadSlot> slots) {
      alike = std::ranges::all_of(slots, [&](const ThreadSlot& slot) {
        return slot.buffer.count == slots[0].buffer.count &&
               slot.buffer.dtype == slots[0].buffer.dtype;
      });
      if (alike) work(slots);
    });
    require_alike(alike);
  }

  static ThreadSlot published(ConstBuffer buffer) {
    return {.buffer = {const_cast<void*>(buffer.data), buffer.count, buffer.dtype}};
  }

  static void require_alike(bool alike) {
    if (!alike) throw InternalError("the ranks' buffers differ in size or data type");
  }

  std::shared_ptr<ThreadGroup> group_;
  int rank_;
};

}  // namespace

void run_on_threads(int size, const std::function<void(Communicator&)>& body) {
  const auto domain = std::make_shared<ThreadDomain>();
  const auto group = std::make_shared<ThreadGroup>(domain, size);
  std::vector<std::thread> threads;
  threads.reserve(size);
  for (int rank = 0; rank < size; ++rank)
    threads.emplace_back([&, rank] {
      try {
        ThreadCommunicator comm(group, rank);
        body(comm);
      } catch (...) {
        domain->fail(std::current_exception());
      }
    });
  for (auto& thread : threads) thread.join();
  if (domain->failure()) std::rethrow_exception(domain->failure());
}

}  // namespace quench::cluster
