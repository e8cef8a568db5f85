#include <gtest/gtest.h>

#include <functional>

#include "model/transformer.hpp"
#include "tests/unit/tiny_model.hpp"

namespace quench::model {
namespace {

using namespace testing;

// Autograd against central differences, in float64: a step of 1e-5 leaves errors of about 1e-9.
class GradientTest : public ::testing::TestWithParam<Architecture> {
 protected:
  ModelConfig config_ = tiny_config(GetParam());
  Weights weights_ = random_weights(config_, 1, at::kDouble);

  // Cross-entropy of the row's own next tokens.
  at::Tensor loss(const Batch& batch, const RowOverlay& overlay = {}) const {
    const Transformer model(config_, weights_, overlay);
    const at::Tensor logits = model.logits(model.hidden(batch).slice(1, 0, -1));
    return at::cross_entropy_loss(logits.flatten(0, 1), batch.ids.slice(1, 1).flatten());
  }
};

// Checks the gradient of loss() in the entry of the tensor where it is largest, and in one more.
void expect_gradient(const at::Tensor& leaf, const std::function<at::Tensor()>& loss) {
  leaf.requires_grad_(true);
  leaf.mutable_grad() = at::Tensor();
  loss().backward();
  const at::Tensor gradient = leaf.grad().clone().flatten();
  leaf.requires_grad_(false);
  ASSERT_GT(gradient.abs().max().item<double>(), 1e-6);
  const at::Tensor flat = leaf.view(-1);
  for (const std::int64_t entry :
       {gradient.abs().argmax().item<std::int64_t>(), flat.numel() / 2}) {
    constexpr double step = 1e-5;
    const double value = flat[entry].item<double>();
    flat[entry].fill_(value + step);
    const double above = loss().item<double>();
    flat[entry].fill_(value - step);
    const double below = loss().item<double>();
    flat[entry].fill_(value);
    EXPECT_NEAR(gradient[entry].item<double>(), (above - below) / (2 * step), 1e-7);
  }
}

TEST_P(GradientTest, OfWeightsIsTheDifferenceQuotient) {
  const Batch batch = plain_batch(random_ids(9, config_.vocab, 3));
  const auto of_batch = [&] { return loss(batch); };
  LayerWeights& sliding = weights_.layers[0];
  LayerWeights& full = weights_.layers[1];
  std::vector<at::Tensor> tensors{weights_.embedding,
                                  weights_.lm_head,
                                  weights_.final_norm,
                                  sliding.q,
                                  sliding.k,
                                  full.q,
                                  full.k,
                                  full.v,
                                  full.o,
                                  full.gate,
                                  full.up,
                                  full.down,
                                  full.input_norm,
                                  full.pre_mlp_norm,
                                  full.post_attention_norm,
                                  full.post_mlp_norm,
                                  full.q_norm,
                                  full.k_norm,
                                  full.q_bias,
                                  full.v_bias};
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    SCOPED_TRACE(i);
    if (tensors[i].defined()) expect_gradient(tensors[i], of_batch);
  }
}

TEST_P(GradientTest, OfOverlayRowsIsTheDifferenceQuotient) {
  const Batch batch = plain_batch({3, 7, 11, 7, 5});
  RowOverlay overlay;
  overlay.ids = {7, 20};
  overlay.rows = at::randn({2, config_.width}, at::kDouble);
  overlay.row_of_id = at::full({config_.vocab}, -1, at::kInt);
  overlay.row_of_id[7] = 0;
  overlay.row_of_id[20] = 1;
  expect_gradient(overlay.rows, [&] { return loss(batch, overlay); });
  overlay.rows.requires_grad_(true);
  loss(batch, overlay).backward();
  EXPECT_EQ(overlay.rows.grad()[1].abs().max().item<double>(), 0);
}

TEST_P(GradientTest, IsFiniteAndTheSameWithPadding) {
  const Batch alone = plain_batch(random_ids(6, config_.vocab, 3));
  const auto pad = [](const at::Tensor& x, std::int64_t value) {
    return at::constant_pad_nd(x, {4, 0}, value);
  };
  const Batch padded{pad(alone.ids, 0), pad(alone.positions, 0), pad(alone.branches, -1)};
  const auto gradient = [&](const Batch& batch) {
    at::Tensor leaf = weights_.layers[0].k.requires_grad_(true);
    leaf.mutable_grad() = at::Tensor();
    const Transformer model(config_, weights_);
    model.hidden(batch).slice(1, -6).square().sum().backward();
    return leaf.grad().clone();
  };
  EXPECT_LT(largest_difference(gradient(padded), gradient(alone)), 1e-10);
}

INSTANTIATE_TEST_SUITE_P(Architectures, GradientTest, all_architectures(), name_of);

}  // namespace
}  // namespace quench::model
