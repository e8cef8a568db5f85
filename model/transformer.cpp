#include "model/transformer.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "model/attention.hpp"
#include "model/rope.hpp"

namespace quench::model {
namespace {

// What the layers of one kind (full or sliding) share in a call.
struct LayerContext {
  Rotation rotation;
  Visibility visible;
};

at::Tensor project(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  return at::linear(x, weight, bias.defined() ? std::optional<at::Tensor>(bias) : std::nullopt);
}

at::Tensor rms_norm(const ModelConfig& config, const at::Tensor& x, const at::Tensor& weight) {
  return at::rms_norm(x, weight.sizes(), config.norm_unit_offset ? weight + 1 : weight,
                      config.norm_eps);
}

// Writes x behind the first `length` entries of the buffer and returns all of them.
at::Tensor append(at::Tensor& buffer, std::int64_t length, const at::Tensor& x) {
  const std::int64_t needed = length + x.size(2);
  if (!buffer.defined() || buffer.size(2) < needed) {
    const std::int64_t capacity = std::max(needed + 64, length * 3 / 2);
    at::Tensor grown = at::empty({x.size(0), x.size(1), capacity, x.size(3)}, x.options());
    if (length > 0) grown.narrow(2, 0, length).copy_(buffer.narrow(2, 0, length));
    buffer = std::move(grown);
  }
  buffer.narrow(2, length, x.size(2)).copy_(x);
  return buffer.narrow(2, 0, needed);
}

// The places of the cached tokens and of the new ones, which the cache holds from now on.
Places extend(KvCache& cache, std::size_t layers, const Places& queries) {
  cache.keys.resize(layers);
  cache.values.resize(layers);
  const bool first = cache.length() == 0;
  cache.positions = first ? queries.positions : at::cat({cache.positions, queries.positions}, 1);
  cache.branches = first ? queries.branches : at::cat({cache.branches, queries.branches}, 1);
  return {cache.positions, cache.branches};
}

// One layer's attention over x, [batch, length, width]. `past`: tokens in the cache before these.
at::Tensor attention(const ModelConfig& config, const LayerWeights& w, const LayerContext& context,
                     const at::Tensor& x, KvCache* cache, std::size_t layer, std::int64_t past) {
  const auto heads_of = [&](const at::Tensor& projected) {
    return projected.view({x.size(0), x.size(1), -1, config.head_dim});
  };
  at::Tensor q = heads_of(project(x, w.q, w.q_bias)), k = heads_of(project(x, w.k, w.k_bias));
  at::Tensor v = heads_of(project(x, w.v, w.v_bias)).transpose(1, 2);
  if (config.qk_norm) {
    q = rms_norm(config, q, w.q_norm);
    k = rms_norm(config, k, w.k_norm);
  }
  q = rotate(q, context.rotation).transpose(1, 2);
  k = rotate(k, context.rotation).transpose(1, 2);
  if (cache != nullptr) {
    k = append(cache->keys[layer], past, k);
    v = append(cache->values[layer], past, v);
  }
  const at::Tensor mixed =
      attend(q, k, v, context.visible, config.attention_scale, config.attention_softcap);
  return project(mixed.transpose(1, 2).reshape({x.size(0), x.size(1), -1}), w.o, w.o_bias);
}

at::Tensor mlp(const ModelConfig& config, const LayerWeights& w, const at::Tensor& x) {
  const at::Tensor gate = at::linear(x, w.gate);
  const at::Tensor open =
      config.activation == Activation::silu ? at::silu(gate) : at::gelu(gate, "tanh");
  return at::linear(open * at::linear(x, w.up), w.down);
}

// Rows of the input embedding, those of the overlay in place of the base's.
at::Tensor embed(const Weights& weights, const RowOverlay& overlay, const at::Tensor& ids) {
  const at::Tensor base = at::embedding(weights.embedding, ids);
  if (overlay.empty()) return base;
  const at::Tensor row = overlay.row_of_id.index_select(0, ids.flatten()).to(at::kLong);
  const at::Tensor edited = overlay.rows.index_select(0, row.clamp_min(0)).view(base.sizes());
  return at::where(row.ge(0).view(ids.sizes()).unsqueeze(-1), edited, base);
}

}  // namespace

void KvCache::select_rows(const at::Tensor& rows) {
  const auto select = [&](at::Tensor& tensor) {
    tensor = tensor.index_select(0, rows.to(tensor.device()));
  };
  std::for_each(keys.begin(), keys.end(), select);
  std::for_each(values.begin(), values.end(), select);
  select(positions);
  select(branches);
}

Transformer::Transformer(const ModelConfig& config, Weights weights, RowOverlay overlay)
    : config_(config), weights_(std::move(weights)), overlay_(std::move(overlay)) {
  const auto device = weights_.embedding.device();
  frequencies_ = rope_frequencies(config_.rope, config_.head_dim).to(device);
  sliding_frequencies_ = rope_frequencies(config_.rope_sliding, config_.head_dim).to(device);
}

at::Tensor Transformer::hidden(const Batch& batch, KvCache* cache) const {
  const auto device = weights_.embedding.device();
  const auto dtype = weights_.embedding.scalar_type();
  const Places queries{batch.positions.to(device), batch.branches.to(device)};
  const std::int64_t past = cache == nullptr ? 0 : cache->length();
  const Places keys = cache == nullptr ? queries : extend(*cache, weights_.layers.size(), queries);

  const LayerContext full{rotation_of(queries.positions, frequencies_, dtype),
                          visibility(queries, keys, 0, dtype)};
  LayerContext sliding = full;
  if (std::ranges::find(config_.sliding, true) != config_.sliding.end())
    sliding = {rotation_of(queries.positions, sliding_frequencies_, dtype),
               visibility(queries, keys, config_.sliding_window, dtype)};

  at::Tensor x = embed(weights_, overlay_, batch.ids.to(device));
  if (config_.embedding_scale != 1) x = x * config_.embedding_scale;
  for (std::size_t layer = 0; layer < weights_.layers.size(); ++layer) {
    const LayerWeights& w = weights_.layers[layer];
    const bool slides = layer < config_.sliding.size() && config_.sliding[layer];
    at::Tensor change = attention(config_, w, slides ? sliding : full,
                                  rms_norm(config_, x, w.input_norm), cache, layer, past);
    x = x + (config_.sandwich_norms ? rms_norm(config_, change, w.post_attention_norm) : change);
    change = mlp(config_, w, rms_norm(config_, x, w.pre_mlp_norm));
    x = x + (config_.sandwich_norms ? rms_norm(config_, change, w.post_mlp_norm) : change);
  }
  return rms_norm(config_, x, weights_.final_norm);
}

at::Tensor Transformer::logits(const at::Tensor& hidden) const {
  return logits(hidden, 0, weights_.lm_head.size(0));
}

at::Tensor Transformer::logits(const at::Tensor& hidden, std::int64_t first,
                               std::int64_t count) const {
  const at::Tensor raw = at::linear(hidden, weights_.lm_head.narrow(0, first, count));
  if (config_.logit_softcap == 0) return raw;
  return at::tanh(raw / config_.logit_softcap) * config_.logit_softcap;
}

}  // namespace quench::model
