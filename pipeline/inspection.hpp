#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "pipeline/saved_run.hpp"

namespace quench::pipeline {

// All that a run found and did for one concept, as far as its files are there (layout:
// docs/guide.md, "One concept, for machines"). What is not a number is null. Starts no MPI, loads
// no weights. Throws ConfigError for a concept that the run lacks, DataError for a damaged file.
nlohmann::json inspect_concept(const SavedRun& run, const std::string& name);

}  // namespace quench::pipeline
