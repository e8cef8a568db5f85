#include "stages/relearning/adamw.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace quench::relearning {
namespace {

// torch.optim.AdamW's single-tensor update in float64, number by number.
class PlainAdamW {
 public:
  PlainAdamW(std::vector<double> values, AdamWOptions options)
      : values_(std::move(values)), m_(values_.size()), v_(values_.size()), options_(options) {}

  void step(const std::vector<double>& gradient) {
    ++steps_;
    const auto& o = options_;
    const double correction1 = 1 - std::pow(o.beta1, steps_);
    const double correction2 = 1 - std::pow(o.beta2, steps_);
    for (std::size_t i = 0; i < values_.size(); ++i) {
      values_[i] *= 1 - o.learning_rate * o.weight_decay;
      m_[i] += (1 - o.beta1) * (gradient[i] - m_[i]);
      v_[i] = o.beta2 * v_[i] + (1 - o.beta2) * gradient[i] * gradient[i];
      const double denominator = std::sqrt(v_[i]) / std::sqrt(correction2) + o.epsilon;
      values_[i] -= o.learning_rate / correction1 * m_[i] / denominator;
    }
  }
  const std::vector<double>& values() const { return values_; }

 private:
  std::vector<double> values_, m_, v_;
  AdamWOptions options_;
  int steps_ = 0;
};

// A gradient that depends on the values, of sizes from 1e-6 to 10, with signs that change.
double gradient_at(double value, std::size_t i, int step) {
  const double size = std::pow(10.0, static_cast<double>(i % 8) - 6);
  return size * (std::cos(0.7 * step + static_cast<double>(i)) + 0.3 * value);
}

at::Tensor leaf_of(const std::vector<double>& values) {
  return at::tensor(values, at::kDouble).to(at::kFloat).set_requires_grad(true);
}

TEST(AdamW, FollowsTorchInFloat64) {
  constexpr std::size_t count = 40000;  // more than one thread's grain
  constexpr int steps = 50;
  const AdamWOptions options{.learning_rate = 1e-2, .weight_decay = 0.3};
  std::vector<double> start(count);
  for (std::size_t i = 0; i < count; ++i) start[i] = std::sin(static_cast<double>(i));
  PlainAdamW plain(start, options);
  AdamW optimizer({leaf_of(start)}, options);
  auto parameter = optimizer.parameters()[0];
  for (int step = 0; step < steps; ++step) {
    std::vector<double> gradient(count);
    for (std::size_t i = 0; i < count; ++i) gradient[i] = gradient_at(plain.values()[i], i, step);
    plain.step(gradient);
    parameter.mutable_grad() = at::tensor(gradient, at::kDouble).to(at::kFloat);
    optimizer.step();
    EXPECT_FALSE(parameter.grad().defined());
  }
  // A step moves a number by about 1e-2 and rounds a few times at 6e-8 of its size.
  const auto expected = at::tensor(plain.values(), at::kDouble);
  EXPECT_LT((parameter.detach() - expected).abs().max().item<double>(), 2e-6);
  EXPECT_GT((expected - at::tensor(start, at::kDouble)).abs().max().item<double>(), 0.1);
}

TEST(AdamW, FirstStepIsTheLearningRate) {
  AdamW optimizer({leaf_of({1, -2, 0.5})}, {.learning_rate = 0.125, .weight_decay = 0});
  auto parameter = optimizer.parameters()[0];
  parameter.mutable_grad() = at::tensor({3.0f, -1e-3f, 0.0f});
  optimizer.step();
  const float* values = parameter.const_data_ptr<float>();
  EXPECT_NEAR(values[0], 1 - 0.125, 1e-6);
  EXPECT_NEAR(values[1], -2 + 0.125, 2e-6);  // epsilon is 1e-5 of this gradient
  EXPECT_EQ(values[2], 0.5f);
}

TEST(AdamW, WithoutGradientNothingMoves) {
  AdamW optimizer({leaf_of({1, 2}), leaf_of({3})}, {.learning_rate = 0.1, .weight_decay = 0.5});
  auto first = optimizer.parameters()[0], second = optimizer.parameters()[1];
  first.mutable_grad() = at::zeros({2});
  optimizer.step();
  EXPECT_NEAR(first.const_data_ptr<float>()[1], 2 * (1 - 0.05), 1e-6);  // decays all the same
  EXPECT_EQ(second.const_data_ptr<float>()[0], 3);
}

TEST(AdamW, TakesGradientsOfAnyLayout) {
  AdamW optimizer({at::zeros({2, 3}).set_requires_grad(true)},
                  {.learning_rate = 1, .weight_decay = 0});
  auto parameter = optimizer.parameters()[0];
  const auto signs = at::tensor({1.0f, -1.0f, 1.0f, 1.0f, -1.0f, -1.0f}).view({2, 3});
  parameter.mutable_grad() = signs.t().contiguous().t();
  optimizer.step();
  EXPECT_TRUE(at::allclose(parameter.detach(), -signs, 1e-5, 1e-5));
}

}  // namespace
}  // namespace quench::relearning
