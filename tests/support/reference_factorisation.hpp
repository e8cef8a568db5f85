#pragma once

#include <ATen/ATen.h>

#include <cmath>
#include <cstdint>
#include <span>

#include "stages/dictionary/options.hpp"

namespace quench::dictionary {

// The steps of the reference, as written (methods 3.1), dense and in float64.
struct ReferenceFactorisation {
  at::Tensor a, f, g;  // [d, n], [d, K], [n, K]
  double ridge;
  std::int64_t kept;

  // columns: A^T, [n, width]; initial: G_0.
  ReferenceFactorisation(std::span<const float> columns, std::int64_t width, const Options& options,
                         const at::Tensor& initial)
      : g(initial.to(at::kDouble)), ridge(options.ridge) {
    const auto rows = static_cast<std::int64_t>(columns.size()) / width;
    a = at::from_blob(const_cast<float*>(columns.data()), {rows, width}).t().to(at::kDouble);
    kept = std::max<std::int64_t>(
        1, static_cast<std::int64_t>(std::ceil(options.density * static_cast<double>(rows))));
  }

  at::Tensor inverse(const at::Tensor& gram_matrix) const {
    return at::linalg_inv(gram_matrix + ridge * at::eye(gram_matrix.size(0), at::kDouble));
  }

  void keep_largest_of_columns() {
    const auto order = g.abs().argsort(/*stable=*/true, /*dim=*/0, /*descending=*/true);
    const auto places = order.slice(0, 0, kept);
    g = at::zeros_like(g).scatter(0, places, g.gather(0, places));
  }

  // One iteration; returns ||A - F G^T||^2.
  double iterate() {
    f = at::mm(at::mm(a, g), inverse(at::mm(g.t(), g)));
    const auto scale = g.norm(2, {0}).clamp_min(1e-8);
    g = g / scale;
    f = f * scale;
    g = at::mm(at::mm(a.t(), f), inverse(at::mm(f.t(), f)));
    keep_largest_of_columns();
    return (a - at::mm(f, g.t())).square().sum().item<double>();
  }
};

}  // namespace quench::dictionary
