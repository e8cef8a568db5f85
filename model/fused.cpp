#include "model/fused.hpp"

#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cstdint>

#include "model/row_loops.hpp"

namespace quench::model {
namespace {

// Loops of our own need plain rows of float32, and nobody who asks for their gradient.
bool plain(const at::Tensor& x) {
  return !c10::GradMode::is_enabled() && x.is_cpu() && x.scalar_type() == at::kFloat &&
         x.is_contiguous();
}

// Rows of about a page: what a thread should at least get.
std::int64_t grain(std::int64_t width) { return std::max<std::int64_t>(1, 16384 / width); }

}  // namespace

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps, bool unit_offset) {
  if (!plain(x) || !plain(weight))
    return at::rms_norm(x, weight.sizes(), unit_offset ? weight + 1 : weight, eps);
  at::Tensor out = at::empty_like(x);
  const std::int64_t width = x.size(-1);
  const auto* from = x.const_data_ptr<float>();
  const auto* by = weight.const_data_ptr<float>();
  auto* to = out.mutable_data_ptr<float>();
  at::parallel_for(0, x.numel() / width, grain(width), [&](std::int64_t begin, std::int64_t end) {
    normalise_rows(from + begin * width, by, unit_offset ? 1.0f : 0.0f, static_cast<float>(eps),
                   end - begin, width, to + begin * width);
  });
  return out;
}

at::Tensor rotate(const at::Tensor& x, const Rotation& rotation) {
  const std::int64_t heads = x.size(2), half = x.size(3) / 2;
  if (!plain(x) || !plain(rotation.cos) || !plain(rotation.sin) ||
      rotation.cos.size(0) != x.size(0)) {
    const at::Tensor a = x.narrow(-1, 0, half), b = x.narrow(-1, half, half);
    return at::cat({at::addcmul(a * rotation.cos, b, rotation.sin, -1),
                    at::addcmul(b * rotation.cos, a, rotation.sin)},
                   -1);
  }
  at::Tensor out = at::empty_like(x);
  const auto* from = x.const_data_ptr<float>();
  const auto* cos = rotation.cos.const_data_ptr<float>();
  const auto* sin = rotation.sin.const_data_ptr<float>();
  auto* to = out.mutable_data_ptr<float>();
  const std::int64_t width = x.size(2) * x.size(3);
  at::parallel_for(0, x.size(0) * x.size(1), grain(width),
                   [&](std::int64_t begin, std::int64_t end) {
                     rotate_rows(from + begin * width, cos + begin * half, sin + begin * half,
                                 end - begin, heads, half, to + begin * width);
                   });
  return out;
}

at::Tensor gated(Activation activation, at::Tensor gate, const at::Tensor& up) {
  const bool silu = activation == Activation::silu;
  if (c10::GradMode::is_enabled()) return (silu ? at::silu(gate) : at::gelu(gate, "tanh")) * up;
  if (silu) return at::silu_(gate).mul_(up);
  return at::gelu_(gate, "tanh").mul_(up);
}

at::Tensor added(const at::Tensor& x, const at::Tensor& change) {
  return c10::GradMode::is_enabled() ? x + change : change.add_(x);
}

}  // namespace quench::model
