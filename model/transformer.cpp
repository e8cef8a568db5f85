#include "model/transformer.hpp"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "cluster/error.hpp"
#include "model/attention.hpp"
#include "model/fused.hpp"
#include "model/rope.hpp"

namespace quench::model {
namespace {

// What the layers of one kind (full or sliding) share in a call.
struct LayerContext {
  Rotation rotation;
  Visibility visible;
};
struct CallContext {
  LayerContext full, sliding;
  const LayerContext& of(const ModelConfig& config, std::size_t layer) const {
    return layer < config.sliding.size() && config.sliding[layer] ? sliding : full;
  }
};

at::Tensor project(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  return at::linear(x, weight, bias.defined() ? std::optional<at::Tensor>(bias) : std::nullopt);
}

at::Tensor norm(const ModelConfig& config, const at::Tensor& x, const at::Tensor& weight) {
  return rms_norm(x, weight, config.norm_eps, config.norm_unit_offset);
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
    q = norm(config, q, w.q_norm);
    k = norm(config, k, w.k_norm);
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

// `frequencies`, `sliding`: of rope in layers of the two kinds.
CallContext context_of(const ModelConfig& config, const at::Tensor& frequencies,
                       const at::Tensor& sliding, const Places& queries, const Places& keys,
                       at::ScalarType dtype) {
  CallContext context;
  context.full = {rotation_of(queries.positions, frequencies, dtype),
                  visibility(queries, keys, 0, dtype)};
  context.sliding = context.full;
  if (std::ranges::find(config.sliding, true) != config.sliding.end())
    context.sliding = {rotation_of(queries.positions, sliding, dtype),
                       visibility(queries, keys, config.sliding_window, dtype)};
  return context;
}

// act(gate) * up, of states before the layer's MLP.
at::Tensor mlp_inner(const ModelConfig& config, const LayerWeights& w, const at::Tensor& states) {
  const at::Tensor x = norm(config, states, w.pre_mlp_norm);
  return gated(config.activation, at::linear(x, w.gate), at::linear(x, w.up));
}

// The first half of a layer. States [batch, length, width] in and out.
at::Tensor add_attention(const ModelConfig& config, const LayerWeights& w,
                         const LayerContext& context, const at::Tensor& x, KvCache* cache,
                         std::size_t layer, std::int64_t past) {
  const at::Tensor change =
      attention(config, w, context, norm(config, x, w.input_norm), cache, layer, past);
  return added(x, config.sandwich_norms ? norm(config, change, w.post_attention_norm) : change);
}

// The second half, from what mlp_inner() gave.
at::Tensor add_mlp(const ModelConfig& config, const LayerWeights& w, const at::Tensor& x,
                   const at::Tensor& inner) {
  const at::Tensor change = at::linear(inner, w.down);
  return added(x, config.sandwich_norms ? norm(config, change, w.post_mlp_norm) : change);
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

// Rows of the input embedding, those of the overlay in place of the base's.
at::Tensor Transformer::embed(const at::Tensor& ids) const {
  at::Tensor x = at::embedding(weights_.embedding, ids);
  if (!overlay_.empty()) {
    const at::Tensor row = overlay_.row_of_id.index_select(0, ids.flatten()).to(at::kLong);
    const at::Tensor edited = overlay_.rows.index_select(0, row.clamp_min(0)).view(x.sizes());
    x = at::where(row.ge(0).view(ids.sizes()).unsqueeze(-1), edited, x);
  }
  return config_.embedding_scale == 1 ? x : x * config_.embedding_scale;
}

at::Tensor Transformer::hidden(const Batch& batch, KvCache* cache) const {
  const auto device = weights_.embedding.device();
  const Places queries{batch.positions.to(device), batch.branches.to(device)};
  const std::int64_t past = cache == nullptr ? 0 : cache->length();
  const Places keys = cache == nullptr ? queries : extend(*cache, weights_.layers.size(), queries);
  const auto context = context_of(config_, frequencies_, sliding_frequencies_, queries, keys,
                                  weights_.embedding.scalar_type());

  at::Tensor x = embed(batch.ids.to(device));
  for (std::size_t layer = 0; layer < weights_.layers.size(); ++layer) {
    const LayerWeights& w = weights_.layers[layer];
    x = add_attention(config_, w, context.of(config_, layer), x, cache, layer, past);
    x = add_mlp(config_, w, x, mlp_inner(config_, w, x));
  }
  return norm(config_, x, weights_.final_norm);
}

Passage Transformer::enter(const Batch& batch) const {
  return {batch, embed(batch.ids.to(weights_.embedding.device())), 0};
}

at::Tensor Transformer::mlp_activations(Passage& passage, std::int64_t layer) const {
  if (layer < passage.next_layer || layer >= config_.layers)
    throw InternalError("layer " + std::to_string(layer) + " is not before a passage at layer " +
                        std::to_string(passage.next_layer));
  const auto device = weights_.embedding.device();
  const Places places{passage.batch.positions.to(device), passage.batch.branches.to(device)};
  const auto context = context_of(config_, frequencies_, sliding_frequencies_, places, places,
                                  weights_.embedding.scalar_type());
  at::Tensor inner;
  for (; passage.next_layer <= layer; ++passage.next_layer) {
    const auto index = static_cast<std::size_t>(passage.next_layer);
    const LayerWeights& w = weights_.layers[index];
    const at::Tensor x =
        add_attention(config_, w, context.of(config_, index), passage.states, nullptr, index, 0);
    inner = mlp_inner(config_, w, x);
    passage.states = add_mlp(config_, w, x, inner);
  }
  return inner;
}

at::Tensor Transformer::logits(const at::Tensor& hidden) const {
  return logits(hidden, 0, weights_.lm_head.size(0));
}

at::Tensor Transformer::logits(const at::Tensor& hidden, std::int64_t first,
                               std::int64_t count) const {
  at::Tensor raw = at::linear(hidden, weights_.lm_head.narrow(0, first, count));
  if (config_.logit_softcap == 0) return raw;
  return at::tanh(raw / config_.logit_softcap) * config_.logit_softcap;
}

}  // namespace quench::model
