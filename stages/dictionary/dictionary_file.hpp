#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "cluster/store.hpp"
#include "stages/dictionary/factorise.hpp"

namespace quench::dictionary {

// One rank's dictionaries, laid out as dictionary.h5 is.
struct Block {
  std::int64_t width = 0;
  std::int64_t failed = 0;                           // over all ranks
  std::vector<std::int64_t> ranks, best_iterations;  // of each dictionary
  std::vector<double> ridges, shares, seconds, predicted_seconds;
  std::vector<std::string> stop_reasons, forms, failures;
  std::vector<std::vector<std::int32_t>> tokens;
  std::vector<std::vector<double>> objectives;
  std::vector<float> features;                  // [sum K, d]
  std::vector<std::vector<std::int32_t>> rows;  // of each feature
  std::vector<std::vector<float>> coefficients;
};

void append(Block& block, Fit fit, std::string failure);

// Collective. Throws DataError.
void write(cluster::Communicator& comm, const std::filesystem::path& path,
           const cluster::StoreHeader& header, const Block& block, double scale, bool joint);

}  // namespace quench::dictionary
