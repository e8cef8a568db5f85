#pragma once

#include <ATen/ATen.h>

#include <cstdint>

namespace quench::model {

// Positions and branches of the tokens of a batch, each [batch, length] int64 (see Batch).
struct Places {
  at::Tensor positions, branches;
};

// Which keys each query sees. Every query sees at least itself (padding sees padding, which nobody
// reads), so that no row of the softmax is empty.
struct Visibility {
  at::Tensor mask;      // [batch, 1, queries, keys], 0 or -infinity; undefined: nothing is hidden
  bool causal = false;  // the plain lower triangle, without a mask
};

// The queries are the last tokens of the keys. `window`: tokens that a sliding layer looks back,
// itself included; 0: all.
Visibility visibility(const Places& queries, const Places& keys, std::int64_t window,
                      at::ScalarType dtype);

// softmax(softcap(scale q k^T) + mask) v. q: [batch, heads, queries, head_dim]; k, v: [batch,
// kv_heads, keys, head_dim], kv_heads dividing heads. softcap 0: none. Returns the shape of q.
at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                  const Visibility& visible, double scale, double softcap);

}  // namespace quench::model
