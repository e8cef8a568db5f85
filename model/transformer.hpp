#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "model/config.hpp"
#include "model/weights.hpp"

namespace quench::model {

// Token rows side by side. Position and branch say who sees whom, so padding, shared prefixes and
// caches are one mechanism: token i sees token j iff j is not later in the row, is no padding, and
// lies in the trunk (branch 0) or in i's own branch, and, in a sliding layer, position_i -
// position_j < window.
struct Batch {
  at::Tensor ids;  // [batch, length] int64
  at::Tensor
      positions;  // [batch, length] int64: rope positions; a branch goes on where the trunk ends
  at::Tensor branches;  // [batch, length] int64: 0 trunk, 1, 2, ... alternatives, -1 padding
};

// Keys and values of the tokens seen so far, grown by each call of hidden(). The buffers are
// larger than what they hold, so that a step copies only its own tokens.
struct KvCache {
  std::vector<at::Tensor> keys, values;  // a layer each: [batch, kv_heads, capacity, head_dim]
  at::Tensor positions, branches;        // [batch, length]; undefined before the first call

  std::int64_t length() const { return positions.defined() ? positions.size(1) : 0; }
  // Keeps these rows of the batch (int64 indices), in this order.
  void select_rows(const at::Tensor& rows);
};

// A batch on its way through the layers.
struct Passage {
  Batch batch;
  at::Tensor states;  // [batch, length, width]: what layer `next` reads
  std::int64_t next_layer = 0;
};

// A decoder-only transformer of one of the supported architectures, as a pure function of its
// weights. Differentiable where the weights (or the overlay's rows) require gradients. Computes in
// the weights' type.
class Transformer {
 public:
  // Keeps handles; `weights` and `overlay` are cheap to copy. Local.
  Transformer(const ModelConfig& config, Weights weights, RowOverlay overlay = {});

  // Hidden states after the final norm, [batch, length, width]. With a cache the batch's tokens
  // come after the cached ones; a cache is for inference only (it is written in place).
  at::Tensor hidden(const Batch& batch, KvCache* cache = nullptr) const;
  // A batch before the first layer.
  Passage enter(const Batch& batch) const;
  // What the MLP of `layer` holds before its down projection, act(gate) * up: [batch, length,
  // mlp_width]. Takes the passage behind that layer and no further. Throws InternalError for a
  // layer that the passage has left behind.
  at::Tensor mlp_activations(Passage& passage, std::int64_t layer) const;
  // [..., width] -> [..., vocab], soft-capped where the architecture does so.
  at::Tensor logits(const at::Tensor& hidden) const;
  // The logits of the `count` ids from `first` on, [..., count]: a large vocabulary in slices.
  at::Tensor logits(const at::Tensor& hidden, std::int64_t first, std::int64_t count) const;

  const ModelConfig& config() const { return config_; }
  const RowOverlay& overlay() const { return overlay_; }

 private:
  at::Tensor embed(const at::Tensor& ids) const;

  ModelConfig config_;
  Weights weights_;
  RowOverlay overlay_;
  at::Tensor frequencies_, sliding_frequencies_;  // of rope, see rope.hpp
};

}  // namespace quench::model
