#pragma once

#include <cstdint>

namespace quench::relearning {

// The factors of one step that are the same for all numbers.
struct StepFactors {
  float decay, step_size, inverse_root_correction, beta1, gain1, beta2, gain2, epsilon;
};

// One step of AdamW over `count` numbers: parameters and both moments in place. 28 bytes a number
// are read and written: memory is the limit. Local.
void adamw_update(float* parameter, const float* gradient, float* first, float* second,
                  std::int64_t count, const StepFactors& factors);

}  // namespace quench::relearning
