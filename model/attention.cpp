#include "model/attention.hpp"

#include <limits>
#include <optional>

namespace quench::model {
namespace {

bool hides_only_the_future(const Places& keys, std::int64_t window) {
  if (keys.branches.ne(0).any().item<bool>()) return false;
  if (window == 0) return true;
  const auto [first, last] = keys.positions.aminmax();
  return (last - first).item<std::int64_t>() < window;
}

// The queries are the last of the keys.
at::Tensor earlier_or_same(std::int64_t queries, std::int64_t keys, at::Device device) {
  return at::ones({1, queries, keys}, at::TensorOptions(at::kBool).device(device))
      .tril_(keys - queries);
}

// [batch, queries, keys] of flags to [batch, 1, queries, keys] of 0 and -infinity.
at::Tensor additive(const at::Tensor& visible, at::ScalarType dtype) {
  const auto hidden = -std::numeric_limits<double>::infinity();
  return at::zeros(visible.sizes(), visible.options().dtype(dtype))
      .masked_fill_(visible.logical_not(), hidden)
      .unsqueeze(1);
}

// Query heads that share a key head are stacked along the queries: no copies of keys and values.
at::Tensor attend_soft_capped(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                              const Visibility& visible, double scale, double softcap) {
  const std::int64_t batch = q.size(0), kv_heads = k.size(1), queries = q.size(2);
  const std::int64_t group = q.size(1) / kv_heads, keys = k.size(2);
  const at::Tensor stacked = q.reshape({batch, kv_heads, group * queries, q.size(3)});
  at::Tensor scores =
      at::tanh(at::matmul(stacked, k.transpose(2, 3)) * (scale / softcap)) * softcap;
  const at::Tensor mask =
      visible.causal ? additive(earlier_or_same(queries, keys, q.device()), q.scalar_type())
                     : visible.mask;
  if (mask.defined())
    scores = scores.view({batch, kv_heads, group, queries, keys}) + mask.unsqueeze(2);
  const at::Tensor weights = at::softmax(scores, -1).view({batch, kv_heads, -1, keys});
  return at::matmul(weights, v).reshape(q.sizes());
}

}  // namespace

Visibility visibility(const Places& queries, const Places& keys, std::int64_t window,
                      at::ScalarType dtype) {
  const std::int64_t rows = queries.branches.size(1), columns = keys.branches.size(1);
  Visibility result;
  if (hides_only_the_future(keys, window)) {
    result.causal = rows == columns && rows > 1;
    if (result.causal || rows == 1) return result;
  }
  const at::Tensor key = keys.branches.unsqueeze(1), query = queries.branches.unsqueeze(2);
  at::Tensor visible = key.eq(0)
                           .logical_or(key.eq(query))
                           .logical_and_(earlier_or_same(rows, columns, key.device()));
  if (window > 0)
    visible.logical_and_((queries.positions.unsqueeze(2) - keys.positions.unsqueeze(1)).lt(window));
  result.mask = additive(visible, dtype);
  return result;
}

at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                  const Visibility& visible, double scale, double softcap) {
  if (softcap > 0) return attend_soft_capped(q, k, v, visible, scale, softcap);
  const auto mask = visible.mask.defined() ? std::optional<at::Tensor>(visible.mask) : std::nullopt;
  return at::scaled_dot_product_attention(q, k, v, mask, 0.0, visible.causal, scale,
                                          k.size(1) != q.size(1));
}

}  // namespace quench::model
