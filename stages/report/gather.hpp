#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>

#include "stages/report/report.hpp"

namespace quench::report {

// Everything that the page and the tables show, out of a run's files as far as they are there;
// layout in gather.cpp, a function a part. Figures are [value, low, high]; what is not a number is
// null. What `options` and `sensitive` leave out is not in the document. Local. Throws DataError
// when there is no corpus.h5.
nlohmann::json gather(const std::filesystem::path& run_directory, const Options& options,
                      const Sensitive& sensitive);

}  // namespace quench::report
