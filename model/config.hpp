#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "model/stored_type.hpp"

namespace quench::model {

enum class Architecture : std::uint8_t { llama, gemma2, gemma3 };
enum class Activation : std::uint8_t { silu, gelu_tanh };

struct Rope {
  enum class Scaling : std::uint8_t { none, linear, llama3 };
  double theta = 10000;
  Scaling scaling = Scaling::none;
  double factor = 1;
  double low_freq_factor = 1, high_freq_factor = 4;  // llama3
  std::int64_t original_max_position = 8192;         // llama3
};

// What config.json and generation_config.json say, in one vocabulary for all architectures.
struct ModelConfig {
  Architecture architecture = Architecture::llama;
  std::int64_t vocab = 0, width = 0, layers = 0, heads = 0, kv_heads = 0, head_dim = 0,
               mlp_width = 0;
  std::int64_t max_position = 0;
  double norm_eps = 1e-6;
  bool norm_unit_offset = false;  // RMSNorm multiplies by (1 + w): Gemma
  bool sandwich_norms = false;    // a norm after attention and after the MLP too: Gemma 2, 3
  bool qk_norm = false;           // RMSNorm of each query and key head: Gemma 3
  Activation activation = Activation::silu;
  // sqrt(width) for Gemma, as a float32: transformers rounds it to the type that the model runs in.
  double embedding_scale = 1;
  double attention_scale = 1;       // factor of q.k
  double attention_softcap = 0;     // 0: none
  double logit_softcap = 0;         // 0: none
  std::int64_t sliding_window = 0;  // tokens, of the layers that slide
  std::vector<bool> sliding;        // a flag a layer
  Rope rope, rope_sliding;          // of full and of sliding layers
  bool attention_bias = false;
  bool tied = false;                         // lm_head is the input embedding
  StoredType stored_type = StoredType::f32;  // of the embedding (check_tensors sees to it)
  std::optional<std::int32_t> bos_id, pad_id;
  std::vector<std::int32_t> stop_ids;  // generation ends at any of these
};

// Reads and checks `dir`/config.json (and generation_config.json where there is one). Throws
// ConfigError for an architecture that is not supported (with the list of those that are),
// DataError naming file and field for anything missing, mistyped or out of range.
ModelConfig read_config(const std::filesystem::path& dir);

std::string to_string(Architecture architecture);

}  // namespace quench::model
