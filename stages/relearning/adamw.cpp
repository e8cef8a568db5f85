#include "stages/relearning/adamw.hpp"

#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include <cmath>

#include "stages/relearning/adamw_update.hpp"

namespace quench::relearning {

AdamW::AdamW(std::vector<at::Tensor> parameters, const AdamWOptions& options)
    : parameters_(std::move(parameters)), options_(options) {
  for (const auto& parameter : parameters_) {
    first_.push_back(at::zeros_like(parameter, at::MemoryFormat::Contiguous).detach());
    second_.push_back(at::zeros_like(parameter, at::MemoryFormat::Contiguous).detach());
  }
}

void AdamW::step() {
  const c10::NoGradGuard no_grad;
  ++steps_;
  const auto& o = options_;
  const double correction1 = 1 - std::pow(o.beta1, static_cast<double>(steps_));
  const double correction2 = 1 - std::pow(o.beta2, static_cast<double>(steps_));
  const StepFactors factors{static_cast<float>(1 - o.learning_rate * o.weight_decay),
                            static_cast<float>(o.learning_rate / correction1),
                            static_cast<float>(1 / std::sqrt(correction2)),
                            static_cast<float>(o.beta1),
                            static_cast<float>(1 - o.beta1),
                            static_cast<float>(o.beta2),
                            static_cast<float>(1 - o.beta2),
                            static_cast<float>(o.epsilon)};
  constexpr std::int64_t grain = 1 << 15;
  for (std::size_t p = 0; p < parameters_.size(); ++p) {
    auto& parameter = parameters_[p];
    if (!parameter.grad().defined()) continue;
    const auto gradient = parameter.grad().contiguous();
    float* values = parameter.mutable_data_ptr<float>();
    const float* g = gradient.const_data_ptr<float>();
    float* m = first_[p].mutable_data_ptr<float>();
    float* v = second_[p].mutable_data_ptr<float>();
    at::parallel_for(0, parameter.numel(), grain, [&](std::int64_t begin, std::int64_t end) {
      adamw_update(values + begin, g + begin, m + begin, v + begin, end - begin, factors);
    });
    parameter.mutable_grad().reset();
  }
}

}  // namespace quench::relearning
