#pragma once

// Inside cluster/ only: what is MPI's behind the communicators.
#include <mpi.h>

#include "cluster/communicator.hpp"
#include "cluster/tickets.hpp"

namespace quench::cluster {

// Elements in one MPI call: counts there are int, ours are 64-bit. Far above the size from which
// bandwidth alone counts, and 2 GiB at most.
inline constexpr std::int64_t max_mpi_count = std::int64_t{1} << 28;

// MPI_COMM_NULL for a communicator that is not MPI's.
MPI_Comm mpi_handle(Communicator& comm);

// Collective over `source`, of which a duplicate is made. Larger transfers than `max_count`
// elements are cut into several.
std::unique_ptr<Communicator> make_mpi_communicator(MPI_Comm source,
                                                    std::int64_t max_count = max_mpi_count);

// Throws ClusterError (call, rank, MPI's text) unless `status` is MPI_SUCCESS.
void check_mpi(int status, const char* call);

// Collective over `comm`, whose ranks share memory.
std::unique_ptr<SharedMemory> make_mpi_memory(MPI_Comm comm, std::int64_t bytes);

// Collective over `comm`, of which a duplicate is made.
std::unique_ptr<TicketCounter> make_mpi_tickets(MPI_Comm comm, std::int64_t n,
                                                TicketObserver observer);
// Waits for the ticket servers that an exception on rank 0 left behind; to be called before MPI
// ends.
void join_ticket_servers();

}  // namespace quench::cluster
