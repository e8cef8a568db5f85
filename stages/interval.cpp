#include "stages/interval.hpp"

#include <algorithm>
#include <cmath>

namespace quench {

Interval percentile_interval(double value, std::vector<double> resampled) {
  std::erase_if(resampled, [](double x) { return std::isnan(x); });
  if (resampled.empty() || std::isnan(value)) return {value, value};
  std::ranges::sort(resampled);
  const auto at = [&](double share) {
    return resampled[static_cast<std::size_t>(share * static_cast<double>(resampled.size() - 1))];
  };
  return {at(0.025), at(0.975)};
}

}  // namespace quench
