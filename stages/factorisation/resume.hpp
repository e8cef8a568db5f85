#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "cluster/collectives.hpp"
#include "cluster/log.hpp"

namespace quench {

// Collective over the group. The state that a factorisation of `stage` goes on from: what
// load(checkpoint) finds on every rank, nothing when it is missing on one (a file system may show
// the file to some nodes only). State has the member `objective`, one number an iteration.
template <typename State>
std::optional<State> resumed_state(const std::string& stage,
                                   const std::filesystem::path& checkpoint,
                                   std::optional<State> (*load)(const std::filesystem::path&),
                                   cluster::Communicator& group) {
  std::optional<State> state;
  cluster::agree(group, [&] { state = load(checkpoint); });
  if (cluster::all_reduce_value(group, std::int64_t{state ? 1 : 0}, cluster::Op::min) == 0)
    return {};
  if (group.rank() == 0)
    cluster::log_info(stage + ": a factorisation goes on after iteration " +
                      std::to_string(state->objective.size()));
  return state;
}

}  // namespace quench
