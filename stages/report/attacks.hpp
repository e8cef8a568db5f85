#pragma once

#include <nlohmann/json.hpp>

#include "cluster/store.hpp"

namespace quench::report {

// Adds the attacks of a relearning.h5 to the report's document. Local.
// "attacks": [{"concept", "seed", "erased", "points": [{figure: [value, low, high, n], "step",
// "loss"}, ...]}, ...].
// "relearning" of each attacked concept: {"erased": {"seeds", "points"}, "untouched": the same},
// means over the seeds whose attacks did not fail, n: questions; "relearning" of the document:
// their means over the attacked concepts, n: concepts.
void add_attacks(const cluster::StoreReader& store, nlohmann::json& document);

}  // namespace quench::report
