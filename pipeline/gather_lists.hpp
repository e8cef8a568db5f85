#pragma once

#include <nlohmann/json.hpp>

#include "cluster/communicator.hpp"

namespace quench::pipeline {

// The elements of all ranks' arrays as one array, in rank order; broken UTF-8 is replaced.
// Collective.
nlohmann::json gather_lists(cluster::Communicator& comm, const nlohmann::json& own);

}  // namespace quench::pipeline
