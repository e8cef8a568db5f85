#include "stages/relearning/adamw_update.hpp"

#include <cmath>

#include "cluster/clones.hpp"

namespace quench::relearning {

QUENCH_CLONES void adamw_update(float* __restrict parameter, const float* __restrict gradient,
                                float* __restrict first, float* __restrict second,
                                std::int64_t count, const StepFactors& factors) {
  const StepFactors f = factors;
  for (std::int64_t i = 0; i < count; ++i) {
    const float g = gradient[i];
    first[i] = f.beta1 * first[i] + f.gain1 * g;
    second[i] = f.beta2 * second[i] + f.gain2 * g * g;
    const float denominator = std::sqrt(second[i]) * f.inverse_root_correction + f.epsilon;
    parameter[i] = parameter[i] * f.decay - f.step_size * first[i] / denominator;
  }
}

}  // namespace quench::relearning
