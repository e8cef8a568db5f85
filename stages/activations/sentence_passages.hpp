#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <span>
#include <vector>

#include "model/transformer.hpp"

namespace quench::activations {

using Tokens = std::vector<std::int32_t>;

// Columns that a sentence gives: its tokens but those of the prefix (BOS), which is put before it
// and counts for nothing.
std::int64_t positions_of(const Tokens& sentence, const Tokens& prefix);

// Sentences on their way through a model: the MLP activations of one layer after another, each
// layer computed once, one layer's held at a time. Between layers it keeps the residual stream,
// tokens x width. Local.
class SentencePassages {
 public:
  // Keeps a reference to the model. batch_tokens: of a forward batch, padding included.
  SentencePassages(const model::Transformer& model, std::span<const Tokens> sentences,
                   const Tokens& prefix, std::int64_t batch_tokens);

  // The first layer that can be asked for.
  std::int64_t next_layer() const { return next_layer_; }
  // The input of the layer's down projection: [mlp_width, positions] float32, columns in the order
  // of the sentences. Layers ascend from call to call.
  at::Tensor at_layer(std::int64_t layer);

 private:
  struct Part {
    model::Passage passage;
    std::vector<std::int64_t> places, columns;  // row * length + place in the batch, column of A
  };
  struct Row;
  Part make_part(std::span<const Row* const> rows) const;

  const model::Transformer& model_;
  std::vector<Part> parts_;
  std::int64_t positions_ = 0, next_layer_ = 0;
};

}  // namespace quench::activations
