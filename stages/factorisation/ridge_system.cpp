#include "stages/factorisation/ridge_system.hpp"

#include "cluster/error.hpp"

namespace quench {

void refuse_overflow() {
  throw DataError("the factorisation overflows: the rows' numbers are too large");
}

at::Tensor RidgeSystem::factor(const at::Tensor& matrix) {
  for (;;) {
    auto system = matrix.clone();
    system.diagonal().add_(lambda_);
    auto [factor, info] = at::linalg_cholesky_ex(system);
    if (info.item<int>() == 0) return factor;
    if (!at::isfinite(system).all().item<bool>()) refuse_overflow();
    raise();
  }
}

// Many right sides: an inverse and a product are the faster way.
at::Tensor RidgeSystem::solve(const at::Tensor& matrix, const at::Tensor& right_side) {
  return right_side.size(1) < matrix.size(0) ? at::cholesky_solve(right_side, factor(matrix))
                                             : at::mm(inverse(matrix), right_side);
}

at::Tensor RidgeSystem::inverse(const at::Tensor& matrix) {
  return at::cholesky_inverse(factor(matrix));
}

void RidgeSystem::raise() {
  constexpr std::int64_t most_raises = 3;
  if (raises_ == most_raises)
    throw DataError(
        "the systems of the factorisation are singular, even with a thousandfold ridge; raise the "
        "ridge or lower the rank");
  ++raises_;
  lambda_ *= 10;
}

}  // namespace quench
