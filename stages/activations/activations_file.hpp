#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "cluster/store.hpp"
#include "stages/activations/semi_nmf.hpp"

namespace quench::activations {

// One rank's factorisations, laid out as activations.h5 is.
struct Block {
  std::int64_t failed = 0;                            // over all ranks
  std::vector<std::int64_t> concepts, layers, ranks;  // of each factorisation
  std::vector<std::int64_t> positions, concept_positions, best_iterations;
  std::vector<double> ridges, seconds;
  std::vector<std::string> stop_reasons, failures;
  std::vector<std::vector<double>> objectives;
  std::vector<std::vector<float>> g;
  std::vector<std::vector<std::int32_t>> neurons;  // of each feature
  std::vector<std::vector<float>> values;
  std::vector<double> mean_concept, mean_neutral, ratio;
};

void append(Block& block, std::int64_t concept_index, std::int64_t layer, Fit fit,
            std::string failure);

// Collective. `layers`: of each concept. Throws DataError.
void write(cluster::Communicator& comm, const std::filesystem::path& path,
           const cluster::StoreHeader& header, const Block& block,
           const std::vector<std::int64_t>& layers, std::int64_t width, bool with_g);

}  // namespace quench::activations
