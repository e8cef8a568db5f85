#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "model/checkpoint.hpp"
#include "model/weights.hpp"
#include "tests/support/safetensors_file.hpp"
#include "tests/support/scratch_directory.hpp"

namespace quench::model::testing {

using quench::testing::read_file;
using quench::testing::ScratchDirectory;
using quench::testing::StoredTensor;
using quench::testing::write_file;

inline nlohmann::json llama_json(bool tied) {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"hidden_size", 8},
          {"vocab_size", 11},
          {"intermediate_size", 12},
          {"num_hidden_layers", 2},
          {"num_attention_heads", 2},
          {"num_key_value_heads", 1},
          {"attention_bias", true},
          {"rms_norm_eps", 1e-5},
          {"torch_dtype", "bfloat16"},
          {"tie_word_embeddings", tied},
          {"quantization_config", {{"bits", 4}}},
          {"some_key_of_the_future", {1, 2.5, nullptr}}};
}

inline nlohmann::json gemma3_json() {
  return {{"architectures", {"Gemma3ForCausalLM"}},
          {"hidden_size", 8},
          {"vocab_size", 11},
          {"intermediate_size", 12},
          {"num_hidden_layers", 2},
          {"num_attention_heads", 2},
          {"num_key_value_heads", 1},
          {"head_dim", 4},
          {"dtype", "float16"}};
}

// Random numbers in the model's stored type, which is of two bytes.
inline std::vector<StoredTensor> random_tensors(const ModelConfig& config) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::vector<StoredTensor> tensors;
  for (const auto& [name, shape] : expected_tensors(config)) {
    std::int64_t count = 1;
    for (const auto size : shape) count *= size;
    std::vector<float> values(count);
    for (auto& value : values) value = normal(random);
    std::string bytes(2 * count, '\0');
    encode(config.stored_type, values, std::as_writable_bytes(std::span(bytes)));
    tensors.push_back({name, std::string(safetensors_name(config.stored_type)), shape, bytes});
  }
  return tensors;
}

// A model directory of one file, in a folder of its own.
class ModelDirectory {
 public:
  explicit ModelDirectory(const nlohmann::json& json) {
    write_file(dir_ / "config.json", json.dump(2));
    config_ = read_config(path());
    tensors_ = random_tensors(config_);
    write();
  }

  std::filesystem::path path() const { return dir_.path(); }
  const ModelConfig& config() const { return config_; }
  Checkpoint checkpoint() const { return Checkpoint::open(path()); }
  std::vector<StoredTensor>& tensors() { return tensors_; }
  void write() {
    write_file(dir_ / "model.safetensors", quench::testing::safetensors_of(tensors_));
  }

  // The stored bytes of a tensor.
  const std::string& bytes(const std::string& name) const {
    for (const auto& tensor : tensors_)
      if (tensor.name == name) return tensor.bytes;
    throw std::out_of_range(name);
  }

 private:
  ScratchDirectory dir_;
  ModelConfig config_;
  std::vector<StoredTensor> tensors_;
};

inline std::vector<float> read_tensor(const Checkpoint& checkpoint, const std::string& name) {
  std::vector<float> values(checkpoint.at(name).count());
  checkpoint.read(name, values);
  return values;
}

// New rows of some tokens.
inline RowOverlay some_overlay(const ModelDirectory& model,
                               std::vector<std::int32_t> ids = {2, 10}) {
  RowDeltas deltas{8, std::move(ids), {}};
  for (int i = 0; i < 8 * static_cast<int>(deltas.ids.size()); ++i)
    deltas.values.push_back(0.3F * static_cast<float>(i - 7));
  auto base = read_tensor(model.checkpoint(), embedding_name);
  return make_overlay(at::from_blob(base.data(), {11, 8}, at::kFloat), model.config().stored_type,
                      deltas, 0.5);
}

}  // namespace quench::model::testing
