#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "model/transformer.hpp"

namespace quench::model::testing {

// A configuration of two layers that uses all that its architecture has.
inline ModelConfig tiny_config(Architecture architecture) {
  ModelConfig config;
  config.architecture = architecture;
  config.vocab = 50;
  config.width = 16;
  config.layers = 2;
  config.heads = 4;
  config.kv_heads = 2;
  config.head_dim = 8;
  config.mlp_width = 24;
  config.max_position = 64;
  config.attention_scale = 1 / std::sqrt(8.0);
  config.sliding.assign(2, false);
  if (architecture == Architecture::llama) {
    config.attention_bias = true;
    config.rope.scaling = Rope::Scaling::llama3;
    config.rope.factor = 8;
    config.rope.original_max_position = 16;
    return config;
  }
  config.norm_unit_offset = config.sandwich_norms = true;
  config.activation = Activation::gelu_tanh;
  config.embedding_scale = 4;
  config.sliding_window = 5;
  config.sliding[0] = true;
  if (architecture == Architecture::gemma2) {
    config.attention_softcap = 1.5;
    config.logit_softcap = 2;
  } else {
    config.qk_norm = true;
    config.rope.theta = 1e6;
  }
  return config;
}

// Random weights, the same for one seed.
inline Weights random_weights(const ModelConfig& config, std::uint64_t seed = 1,
                              at::ScalarType dtype = at::kFloat) {
  at::manual_seed(seed);
  const auto matrix = [&](std::int64_t out, std::int64_t in) {
    return at::randn({out, in}, dtype) / std::sqrt(static_cast<double>(in));
  };
  const auto vector = [&](std::int64_t size, double mean) {
    return at::randn({size}, dtype) * 0.3 + mean;
  };
  const double unit = config.norm_unit_offset ? 0 : 1;
  const std::int64_t q = config.heads * config.head_dim, kv = config.kv_heads * config.head_dim;
  Weights weights;
  weights.embedding = at::randn({config.vocab, config.width}, dtype);
  weights.lm_head = matrix(config.vocab, config.width) * 2;
  weights.final_norm = vector(config.width, unit);
  for (std::int64_t layer = 0; layer < config.layers; ++layer) {
    LayerWeights w;
    w.q = matrix(q, config.width) * 2;
    w.k = matrix(kv, config.width) * 2;
    w.v = matrix(kv, config.width);
    w.o = matrix(config.width, q);
    w.gate = matrix(config.mlp_width, config.width);
    w.up = matrix(config.mlp_width, config.width);
    w.down = matrix(config.width, config.mlp_width);
    if (config.attention_bias) {
      w.q_bias = vector(q, 0);
      w.k_bias = vector(kv, 0);
      w.v_bias = vector(kv, 0);
      w.o_bias = vector(config.width, 0);
    }
    w.input_norm = vector(config.width, unit);
    w.pre_mlp_norm = vector(config.width, unit);
    if (config.sandwich_norms) {
      w.post_attention_norm = vector(config.width, unit);
      w.post_mlp_norm = vector(config.width, unit);
    }
    if (config.qk_norm) {
      w.q_norm = vector(config.head_dim, unit);
      w.k_norm = vector(config.head_dim, unit);
    }
    weights.layers.push_back(w);
  }
  return weights;
}

inline at::Tensor row(const std::vector<std::int64_t>& values) {
  return at::tensor(values, at::kLong).unsqueeze(0);
}

// One plain row: positions from 0, all trunk.
inline Batch plain_batch(const std::vector<std::int64_t>& ids) {
  std::vector<std::int64_t> positions(ids.size());
  std::iota(positions.begin(), positions.end(), 0);
  return {row(ids), row(positions), row(std::vector<std::int64_t>(ids.size(), 0))};
}

// `count` ids, the same for one seed.
inline std::vector<std::int64_t> random_ids(std::int64_t count, std::int64_t vocab,
                                            std::uint64_t seed) {
  at::manual_seed(seed);
  const at::Tensor ids = at::randint(vocab, {count}, at::kLong);
  return {ids.const_data_ptr<std::int64_t>(), ids.const_data_ptr<std::int64_t>() + count};
}

inline auto all_architectures() {
  return ::testing::Values(Architecture::llama, Architecture::gemma2, Architecture::gemma3);
}
inline std::string name_of(const ::testing::TestParamInfo<Architecture>& suite) {
  return to_string(suite.param);
}

inline double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

}  // namespace quench::model::testing
