#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

namespace quench::bench {

// The peer: one iteration of the reference (method notes 3.1) in dense float32 products of
// libtorch, without its top-k over F, which changes nothing. A: [d, n]; G: [n, K], replaced.
// Returns
// ||A - F G^T||^2, read to the host.
inline double reference_iteration(const at::Tensor& a, at::Tensor& g, double ridge,
                                  double density) {
  const auto identity = at::eye(g.size(1));
  const auto inverse = [&](const at::Tensor& gram) {
    return at::linalg_inv(gram + ridge * identity);
  };
  auto f = at::mm(at::mm(a, g), inverse(at::mm(g.t(), g)));
  const auto scale = at::linalg_vector_norm(g, 2, 0).clamp_min(1e-8);
  g = g / scale;
  f = f * scale;
  g = at::mm(at::mm(a.t(), f), inverse(at::mm(f.t(), f)));
  const auto kept =
      std::max<std::int64_t>(1, static_cast<std::int64_t>(std::ceil(density * g.size(0))));
  const auto places = std::get<1>(g.abs().topk(kept, 0));
  g = at::zeros_like(g).scatter(0, places, g.gather(0, places));
  return (a - at::mm(f, g.t())).square().sum().item<double>();
}

}  // namespace quench::bench
