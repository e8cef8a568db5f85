#pragma once

#include <memory>

#include "cluster/communicator.hpp"
#include "cluster/timers.hpp"
#include "cluster/watchdog.hpp"

namespace quench::cluster {

// A communicator that adds the time of each collective, waiting included, to "collective/<name>" of
// `timers`, and lets a watchdog, where there is one, watch it. What it splits off is timed too.
// Both must outlive it.
std::unique_ptr<Communicator> make_timed(std::unique_ptr<Communicator> communicator, Timers& timers,
                                         Watchdog* watchdog);

}  // namespace quench::cluster
