#pragma once

#include <ATen/ATen.h>

#include <cstdint>

namespace quench {

// Throws DataError: numbers became infinite.
[[noreturn]] void refuse_overflow();

// Solves (M + lambda I) X = B by Cholesky in float64. When the matrix is not positive definite,
// lambda is raised tenfold, at most three times over the life of a fit, and stays so. Local.
class RidgeSystem {
 public:
  explicit RidgeSystem(double lambda, std::int64_t raises = 0) : lambda_(lambda), raises_(raises) {}

  // Throws DataError when the system stays singular, or is not finite, as do the others.
  at::Tensor solve(const at::Tensor& matrix, const at::Tensor& right_side);
  // (M + lambda I)^-1 of a symmetric M.
  at::Tensor inverse(const at::Tensor& matrix);
  // Raises lambda for a system that was found to be singular elsewhere. Throws DataError when it
  // was raised too often.
  void raise();
  double lambda() const { return lambda_; }
  std::int64_t raises() const { return raises_; }

 private:
  // Lower, of M + lambda I.
  at::Tensor factor(const at::Tensor& matrix);

  double lambda_;
  std::int64_t raises_;
};

}  // namespace quench
