#pragma once

#include <nlohmann/json.hpp>

#include "cluster/store.hpp"

namespace quench::report {

// The attacks of a relearning.h5: [{"concept", "seed", "erased", "points": [{figure: [value, low,
// high], "step", "loss"}, ...]}, ...]. Local.
nlohmann::json attacks_of(const cluster::StoreReader& store);

}  // namespace quench::report
