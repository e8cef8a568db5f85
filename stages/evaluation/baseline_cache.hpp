#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "stages/evaluation/measure.hpp"
#include "stages/types.hpp"

namespace quench::evaluation {

// What base models said, in a directory that runs share: DIRECTORY/MODEL/KEY.cbor, MODEL the hash
// of the model's files, KEY that of the probes and of how they are put. Safe against several
// writers: a file appears whole, under its name, or not at all.
class BaselineCache {
 public:
  // directory empty: nothing is kept. Throws DataError when it cannot be made.
  BaselineCache(std::filesystem::path directory, const std::string& model_hash,
                const MeasureOptions& options);

  // The measurements of these probes, if they are there and undamaged. Local.
  std::optional<std::vector<Measurement>> find(std::span<const Probe> probes) const;
  // Keeps them; a place that cannot be written is told once and passed over. Local.
  void keep(std::span<const Probe> probes, std::span<const Measurement> measured) const;

 private:
  std::filesystem::path file_of(std::span<const Probe> probes) const;
  std::filesystem::path directory_;
  std::string how_;  // probes are put
};

}  // namespace quench::evaluation
