// The steps between a layer's products: the loops that serve where nothing is differentiated beside
// ATen's operations, which serve where something is.
#include "model/fused.hpp"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

namespace {

using namespace quench;

// Sums of a row in another order, and a square root: a few roundings of float32.
constexpr double tolerance = 2e-6;

double relative_difference(const at::Tensor& a, const at::Tensor& b) {
  return ((a - b).abs().max() / b.abs().max()).item<double>();
}

class Fused : public ::testing::Test {
 protected:
  void SetUp() override { at::manual_seed(1); }
};

template <typename Run>
void expect_same_without_gradients(const Run& run) {
  const at::Tensor expected = run();
  c10::NoGradGuard guard;
  const at::Tensor got = run();
  ASSERT_EQ(got.sizes(), expected.sizes());
  EXPECT_LT(relative_difference(got, expected), tolerance);
}

TEST_F(Fused, NormsOfAnyWidth) {
  for (const std::int64_t width : {1, 7, 16, 33, 576}) {
    const at::Tensor x = at::randn({3, 5, width}), weight = at::randn({width});
    for (const bool unit_offset : {false, true})
      expect_same_without_gradients([&] { return model::rms_norm(x, weight, 1e-5, unit_offset); });
  }
}

TEST_F(Fused, ANormIsTheFormula) {
  c10::NoGradGuard guard;
  const at::Tensor x = at::randn({40, 24}, at::kDouble), weight = at::randn({24}, at::kDouble);
  const at::Tensor exact = x / (x.square().mean(-1, true) + 0.5).sqrt() * (1 + weight);
  const at::Tensor got = model::rms_norm(x.to(at::kFloat), weight.to(at::kFloat), 0.5, true);
  EXPECT_LT(relative_difference(got.to(at::kDouble), exact), tolerance);
}

TEST_F(Fused, RotationsOfAnyShape) {
  for (const std::int64_t half : {1, 5, 32}) {
    const at::Tensor x = at::randn({2, 9, 3, 2 * half});
    const at::Tensor angles = at::randn({2, 9, 1, half});
    const model::Rotation rotation{angles.cos(), angles.sin()};
    expect_same_without_gradients([&] { return model::rotate(x, rotation); });
  }
}

TEST_F(Fused, RowsThatAreNotInOrder) {
  const at::Tensor x = at::randn({4, 6, 2, 8}).transpose(0, 1), weight = at::randn({8});
  const at::Tensor angles = at::randn({6, 4, 1, 4});
  const model::Rotation rotation{angles.cos(), angles.sin()};
  expect_same_without_gradients([&] { return model::rotate(x, rotation); });
  expect_same_without_gradients([&] { return model::rms_norm(x, weight, 1e-6, false); });
}

TEST_F(Fused, GatesAndSumsLeaveTheirOtherArgumentAlone) {
  const at::Tensor gate = at::randn({2, 3, 20}), up = at::randn({2, 3, 20});
  const at::Tensor kept = up.clone();
  for (const auto activation : {model::Activation::silu, model::Activation::gelu_tanh})
    expect_same_without_gradients([&] { return model::gated(activation, gate.clone(), up); });
  expect_same_without_gradients([&] { return model::added(up, gate.clone()); });
  EXPECT_TRUE(at::equal(up, kept));
}

TEST_F(Fused, WithGradientsEachStepIsDifferentiable) {
  const at::Tensor x = at::randn({1, 2, 2, 8}).requires_grad_(true), weight = at::randn({8});
  const at::Tensor angles = at::randn({1, 2, 1, 4});
  const auto out = model::added(
      x, model::rotate(model::rms_norm(x, weight, 1e-6, true), {angles.cos(), angles.sin()}));
  model::gated(model::Activation::silu, out, x).sum().backward();
  EXPECT_TRUE(x.grad().defined());
  EXPECT_GT(x.grad().abs().min().item<double>(), 0);
}

}  // namespace
