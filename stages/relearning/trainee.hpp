#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <span>
#include <vector>

#include "model/transformer.hpp"
#include "model/weights.hpp"

namespace quench::relearning {

using TokenRows = std::vector<std::vector<std::int32_t>>;

// A private, trainable float32 copy of a model. Of the input embedding only the rows of tokens that
// the training text holds are copied: every other row has a zero gradient, so AdamW would only
// decay it, by lr * weight_decay a step (2e-5 of its size over 200 steps at the default settings, a
// hundredth of a bfloat16 rounding step); that decay is left out.
class Trainee {
 public:
  Trainee(const model::ModelConfig& config, const model::Weights& base,
          const model::RowOverlay& edits, const TokenRows& text);

  // The model as it stands, sharing the trained tensors.
  model::Transformer model() const;
  // The trained leaves, in one fixed order.
  const std::vector<at::Tensor>& parameters() const { return parameters_; }

 private:
  at::Tensor leaf(const at::Tensor& values);
  const model::ModelConfig& config_;
  model::Weights weights_;
  std::vector<at::Tensor> parameters_;
  at::Tensor trained_rows_;        // [trained ids, width], a leaf
  at::Tensor fixed_rows_;          // edited rows that the text does not hold
  std::vector<std::int32_t> ids_;  // of all overlay rows, ascending
  at::Tensor order_;               // overlay row i is row order_[i] of cat(trained, fixed)
  at::Tensor row_of_id_;
};

// Sum of the next-token cross-entropies of one row of tokens, in nats; differentiable. With pads
// before it the row's first token is a target too, predicted from a pad, as in the paper's code
// (methods 8).
at::Tensor row_loss(const model::Transformer& model, std::span<const std::int32_t> tokens,
                    std::int64_t pads, std::int32_t pad_id);

}  // namespace quench::relearning
