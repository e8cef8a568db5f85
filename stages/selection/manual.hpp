#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "stages/concept_names.hpp"
#include "stages/selection/statistics.hpp"

namespace quench::selection {

// What a file of selections is checked against.
struct ManualLimits {
  ConceptNames names;         // of the run
  std::int64_t features = 0;  // of a dictionary
  std::int64_t vocab = 0;
};

// Reads JSON lines {"concept": name or alias, "features": [ids], "tokens": [ids]}, one of the lists
// or both; empty lines do not count. Returns a decision for each concept, an empty one for those
// that the file does not name. Local. Throws DataError with every problem of the file, each with
// line and field: not JSON, a missing or unknown field, a concept that the run lacks or that stands
// there twice, ids that are no whole numbers, out of range or given twice.
std::vector<Decision> read_manual(const std::filesystem::path& file, const ManualLimits& limits);

}  // namespace quench::selection
