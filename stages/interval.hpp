#pragma once

#include <vector>

#include "stages/types.hpp"

namespace quench {

// The 95% percentile interval of resampled values, NaN left out; the value itself without any.
Interval percentile_interval(double value, std::vector<double> resampled);

}  // namespace quench
