#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "cluster/communicator.hpp"
#include "cluster/store.hpp"
#include "stages/selection/statistics.hpp"

namespace quench::selection {

// All that selection.h5 says of one concept.
struct Verdict {
  std::string hash;
  std::int64_t group = 0;
  std::int64_t background_sentences = 0;
  FeatureStatistics statistics;
  Choice choice;
  std::vector<double> z;                // of the selected tokens
  std::vector<std::int32_t> sentences;  // of the concept that hold them
};

// Collective. Writes the verdicts of this rank's block of concepts, the first of which is
// `first_concept`, and the collisions between all concepts.
void write_selection(cluster::Communicator& comm, const std::filesystem::path& path,
                     const cluster::StoreHeader& header, std::int64_t first_concept,
                     const std::vector<Verdict>& verdicts);

}  // namespace quench::selection
