#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

namespace quench::relearning {

struct AdamWOptions {
  double learning_rate = 1e-5;
  double weight_decay = 0.01;
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
};

// AdamW with decoupled weight decay (Loshchilov and Hutter 2019, as torch.optim.AdamW computes it),
// on contiguous float32 leaves with gradients.
class AdamW {
 public:
  AdamW(std::vector<at::Tensor> parameters, const AdamWOptions& options);

  // One update from the parameters' gradients, which are then cleared; a parameter without a
  // gradient stays as it is. One pass over memory: 7 streams of 4 bytes a number.
  void step();
  const std::vector<at::Tensor>& parameters() const { return parameters_; }

 private:
  std::vector<at::Tensor> parameters_, first_, second_;  // moments
  AdamWOptions options_;
  std::int64_t steps_ = 0;
};

}  // namespace quench::relearning
