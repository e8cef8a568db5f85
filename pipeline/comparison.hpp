#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "pipeline/evaluated_run.hpp"
#include "pipeline/saved_run.hpp"

namespace quench::pipeline {

// Two runs side by side (layout: docs/guide.md, "Two runs side by side, for machines"): what
// differs in configuration and inputs, and which figures of the joint model, or of the edits alone,
// moved beyond the 95% interval of their difference. What is not a number is null. Starts no MPI,
// loads no weights. Throws DataError with everything that keeps either run from being compared.
nlohmann::json compare_runs(const SavedRun& a, const SavedRun& b, Erased erased,
                            std::int64_t resamples);

// The figures that are compared, those of the summary first; of a run that has none of a kind
// (open answers, say) they are left out. "relearned" is of concepts that both runs attacked, and of
// joint models: edits alone have none.
const std::vector<std::string>& compared_figures();

}  // namespace quench::pipeline
