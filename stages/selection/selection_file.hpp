#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "cluster/communicator.hpp"
#include "cluster/store.hpp"
#include "stages/selection/verdict.hpp"

namespace quench::selection {

// Collective. Writes the verdicts of this rank's block of concepts, the first of which is
// `first_concept`, and the collisions between all concepts.
void write_selection(cluster::Communicator& comm, const std::filesystem::path& path,
                     const cluster::StoreHeader& header, std::int64_t first_concept,
                     const std::vector<Verdict>& verdicts);

}  // namespace quench::selection
