#include <spdlog/spdlog.h>

#include <chrono>
#include <list>
#include <thread>

#include "cluster/error.hpp"
#include "cluster/mpi_handle.hpp"
#include "cluster/session.hpp"
#include "cluster/unwinding.hpp"

// Rank 0 answers the others from a thread of its own, which lives until every other rank has said
// that it leaves; so no message is left behind, whoever ends first.
namespace quench::cluster {
namespace {

enum class Request : std::int64_t { next, close, leave };
constexpr int request_tag = 1;
constexpr int reply_tag = 2;
constexpr std::int64_t no_ticket = -1;

// A blocking receive would keep a core busy; a ticket is worth seconds of work, so a millisecond
// does not matter. Returns the sender.
int wait_for_message(MPI_Comm comm, int source, int tag) {
  for (;;) {
    int found = 0;
    MPI_Status status;
    check_mpi(MPI_Iprobe(source, tag, comm, &found, &status), "MPI_Iprobe");
    if (found) return status.MPI_SOURCE;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

std::int64_t receive(MPI_Comm comm, int source, int tag) {
  std::int64_t value = 0;
  check_mpi(MPI_Recv(&value, 1, MPI_INT64_T, source, tag, comm, MPI_STATUS_IGNORE), "MPI_Recv");
  return value;
}

void send(MPI_Comm comm, int target, int tag, std::int64_t value) {
  check_mpi(MPI_Send(&value, 1, MPI_INT64_T, target, tag, comm), "MPI_Send");
}

// Without an answer the other ranks would wait for ever, so a failure here ends the job.
void serve(MPI_Comm comm, int clients, TicketState& state) {
  try {
    while (clients > 0) {
      const int client = wait_for_message(comm, MPI_ANY_SOURCE, request_tag);
      const auto request = Request{receive(comm, client, request_tag)};
      if (request == Request::leave) {
        --clients;
        continue;
      }
      if (request == Request::close) state.close();
      send(comm, client, reply_tag, state.take().value_or(no_ticket));
    }
  } catch (const std::exception& error) {
    spdlog::critical("the server of the task queue failed: {}", error.what());
    Session::abort(static_cast<int>(ExitCode::internal));
  }
}

// Never destroyed: a process that is aborted may still have servers.
std::list<std::thread>& abandoned_servers() {
  static auto* servers = new std::list<std::thread>;
  return *servers;
}

MPI_Comm duplicate(MPI_Comm comm) {
  MPI_Comm own = MPI_COMM_NULL;
  check_mpi(MPI_Comm_dup(comm, &own), "MPI_Comm_dup");
  check_mpi(MPI_Comm_set_errhandler(own, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  return own;
}

class ServedTickets final : public TicketCounter {
 public:
  ServedTickets(MPI_Comm comm, int clients, std::int64_t n, TicketObserver observer)
      : comm_(duplicate(comm)), state_(std::make_shared<TicketState>(n, std::move(observer))) {
    if (clients > 0)
      server_ =
          std::thread([comm = comm_, clients, state = state_] { serve(comm, clients, *state); });
  }
  // Waits for the others, unless an exception calls this rank away: then they get no more tickets,
  // and the server stays for them.
  ~ServedTickets() override {
    if (unwinding_) {
      state_->close();
      state_->forget_observer();
      abandoned_servers().push_back(std::move(server_));
      return;
    }
    if (server_.joinable()) server_.join();
    MPI_Comm_free(&comm_);
  }

  std::optional<std::int64_t> next() override { return state_->take(); }
  void close() override { state_->close(); }

 private:
  MPI_Comm comm_;
  std::shared_ptr<TicketState> state_;
  std::thread server_;
  Unwinding unwinding_;
};

class RemoteTickets final : public TicketCounter {
 public:
  explicit RemoteTickets(MPI_Comm comm) : comm_(duplicate(comm)) {}
  ~RemoteTickets() override {
    const auto leave = static_cast<std::int64_t>(Request::leave);
    MPI_Send(&leave, 1, MPI_INT64_T, 0, request_tag, comm_);
    if (!unwinding_) MPI_Comm_free(&comm_);
  }

  std::optional<std::int64_t> next() override {
    const auto ticket = ask(Request::next);
    return ticket == no_ticket ? std::nullopt : std::optional(ticket);
  }
  void close() override { ask(Request::close); }

 private:
  std::int64_t ask(Request request) {
    send(comm_, 0, request_tag, static_cast<std::int64_t>(request));
    wait_for_message(comm_, 0, reply_tag);
    return receive(comm_, 0, reply_tag);
  }

  MPI_Comm comm_;
  Unwinding unwinding_;
};

bool threads_may_call_mpi() {
  int level = MPI_THREAD_SINGLE;
  check_mpi(MPI_Query_thread(&level), "MPI_Query_thread");
  return level == MPI_THREAD_MULTIPLE;
}

void warn_once(int rank) {
  static bool told = false;
  if (rank == 0 && !told)
    spdlog::warn("this MPI has no MPI_THREAD_MULTIPLE: tasks are dealt out in advance, not drawn");
  told = true;
}

}  // namespace

std::unique_ptr<TicketCounter> make_mpi_tickets(MPI_Comm comm, std::int64_t n,
                                                TicketObserver observer) {
  int rank = 0, size = 1;
  check_mpi(MPI_Comm_rank(comm, &rank), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(comm, &size), "MPI_Comm_size");
  if (!threads_may_call_mpi()) {
    warn_once(rank);
    return make_strided_tickets(rank, size, n, std::move(observer));
  }
  if (rank > 0) return std::make_unique<RemoteTickets>(comm);
  return std::make_unique<ServedTickets>(comm, size - 1, n, std::move(observer));
}

void join_ticket_servers() {
  for (auto& server : abandoned_servers())
    if (server.joinable()) server.join();
  abandoned_servers().clear();
}

}  // namespace quench::cluster
