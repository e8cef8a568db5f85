#pragma once

#include <memory>

#include "cluster/communicator.hpp"
#include "cluster/timers.hpp"

namespace quench::cluster {

// A communicator that adds the time of each collective, waiting included, to "collective/<name>" of
// `timers`. What it splits off is timed too. `timers` must outlive it.
std::unique_ptr<Communicator> make_timed(std::unique_ptr<Communicator> communicator,
                                         Timers& timers);

}  // namespace quench::cluster
