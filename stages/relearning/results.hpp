#pragma once

// Inside stages/relearning only: curves as they are journalled, and relearning.h5.
#include <cstdint>
#include <string>
#include <vector>

#include "stages/relearning/relearning.hpp"

namespace quench::relearning {

// One task of the queue.
struct Attack {
  std::int64_t concept_index = 0;
  std::int64_t seed = 0;
  bool erased = true;  // false: the control
};

// A curve as it is journalled: steps, losses, the figures with their intervals at each point, and
// what they are made of. Local.
std::string pack(const Inputs& inputs, const Attack& attack, const std::vector<Point>& curve);

// Writes relearning.h5: each attack, the means over seeds of each concept and start, and their
// means over concepts. `attacks` holds as many of each attacked concept, one concept after the
// other. Collective over the world.
void write(const Inputs& inputs, const Options& options, cluster::Context& context,
           const std::vector<Attack>& attacks, const cluster::TaskResults& results);

}  // namespace quench::relearning
