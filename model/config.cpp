#include "model/config.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>

#include "cluster/error.hpp"
#include "model/files.hpp"
#include "model/json_fields.hpp"

// Defaults of fields that a config.json may leave out are those of transformers' configuration
// classes (LlamaConfig, Gemma2Config, Gemma3TextConfig), which writes only what differs from them.
namespace quench::model {
namespace {

using nlohmann::json;

constexpr std::int64_t max_config_bytes = 1 << 20;
constexpr std::int64_t max_vocab = (std::int64_t{1} << 31) - 1;  // token ids are int32
// Generous, and small enough that no product of two of them and a layer count overflows.
constexpr std::int64_t max_layers = 1 << 14, max_heads = 1 << 12, max_head_dim = 1 << 12,
                       max_width = 1 << 20, max_mlp_width = 1 << 22,
                       max_positions = std::int64_t{1} << 31;

struct Family {
  Architecture architecture;
  std::string_view class_name;
  std::string_view model_type;
};
constexpr std::array<Family, 3> families = {{
    {Architecture::llama, "LlamaForCausalLM", "llama"},
    {Architecture::gemma2, "Gemma2ForCausalLM", "gemma2"},
    {Architecture::gemma3, "Gemma3ForCausalLM", "gemma3_text"},
}};

Architecture read_architecture(const json& object, const std::string& file) {
  std::string name;
  const auto classes = object.find("architectures");
  if (classes != object.end() && classes->is_array() && !classes->empty() &&
      classes->front().is_string())
    name = classes->front().get<std::string>();
  else if (const auto type = object.find("model_type"); type != object.end() && type->is_string())
    name = type->get<std::string>();
  for (const auto& family : families)
    if (name == family.class_name || name == family.model_type) return family.architecture;

  std::string text = file + ": architectures: " + (name.empty() ? "missing" : name);
  text += name.empty() ? "; supported are" : " is not supported; supported are";
  for (const auto& family : families) text.append(" ").append(family.class_name);
  if (object.contains("text_config"))
    text += "; of a model for text and images save the language model alone";
  throw ConfigError(text);
}

bool is_gemma(Architecture architecture) { return architecture != Architecture::llama; }

void read_sizes(JsonFields& fields, ModelConfig& config) {
  const bool gemma = is_gemma(config.architecture);
  config.vocab = fields.integer("vocab_size", 1, max_vocab);
  config.width = fields.integer("hidden_size", 1, max_width);
  config.layers = fields.integer("num_hidden_layers", 1, max_layers);
  config.mlp_width = fields.integer("intermediate_size", 1, max_mlp_width);
  config.heads = fields.integer("num_attention_heads", 1, max_heads);
  config.kv_heads = fields.integer("num_key_value_heads", 1, max_heads, gemma ? 4 : config.heads);
  if (config.heads % config.kv_heads != 0)
    fields.problem("num_key_value_heads", std::to_string(config.kv_heads) +
                                              " does not divide num_attention_heads " +
                                              std::to_string(config.heads));
  if (!gemma && !fields.has("head_dim") && config.width % config.heads != 0)
    fields.problem("head_dim", "missing, and num_attention_heads does not divide hidden_size");
  config.head_dim =
      fields.integer("head_dim", 2, max_head_dim,
                     gemma ? 256 : std::max<std::int64_t>(config.width / config.heads, 2));
  if (config.head_dim % 2 != 0)
    fields.problem("head_dim", std::to_string(config.head_dim) + ", an even number is expected");
  config.max_position = fields.integer("max_position_embeddings", 1, max_positions,
                                       config.architecture == Architecture::llama    ? 2048
                                       : config.architecture == Architecture::gemma2 ? 8192
                                                                                     : 131072);
}

Activation read_activation(JsonFields& fields, Architecture architecture) {
  const std::string key = is_gemma(architecture) ? "hidden_activation" : "hidden_act";
  const auto name = fields.text(key, is_gemma(architecture) ? "gelu_pytorch_tanh" : "silu");
  if (name == "gelu_pytorch_tanh") return Activation::gelu_tanh;
  if (name != "silu" && name != "swish")
    fields.problem(key, name + " is not supported, silu and gelu_pytorch_tanh are");
  return Activation::silu;
}

// What these classes may say and the transformer does not do.
void refuse_unsupported(JsonFields& fields) {
  for (const auto* key : {"mlp_bias", "use_bidirectional_attention"})
    if (fields.flag(key, false)) fields.problem(key, "true is not supported");
  for (const auto* key : {"attention_dropout", "hidden_dropout", "dropout"})
    if (fields.number(key, 0) != 0) fields.problem(key, "only 0 is supported");
  if (fields.number("partial_rotary_factor", 1) != 1)
    fields.problem("partial_rotary_factor", "only 1 is supported");
}

// The length that a model was first trained on.
struct OriginalLength {
  std::int64_t usual = 0;              // where the object names none
  std::optional<std::int64_t> in_top;  // config.json's own field goes before the object's
};

// One object with rope_theta, rope_type (or type) and the scaling's own numbers.
Rope read_rope(JsonFields fields, double theta, const OriginalLength& original) {
  Rope rope;
  rope.theta = fields.positive("rope_theta", theta);
  const auto key = fields.has("rope_type") ? "rope_type" : "type";
  const auto type = fields.text(key, "default");
  if (fields.number("partial_rotary_factor", 1) != 1)
    fields.problem("partial_rotary_factor", "only 1 is supported");
  if (type == "default") return rope;
  if (type != "linear" && type != "llama3") {
    fields.problem(key, type + " is not supported, default, linear and llama3 are");
    return rope;
  }
  rope.factor = fields.positive("factor");
  rope.scaling = type == "linear" ? Rope::Scaling::linear : Rope::Scaling::llama3;
  if (rope.scaling == Rope::Scaling::linear) return rope;
  rope.low_freq_factor = fields.positive("low_freq_factor");
  rope.high_freq_factor = fields.positive("high_freq_factor");
  if (rope.high_freq_factor <= rope.low_freq_factor)
    fields.problem("high_freq_factor", "must be greater than low_freq_factor");
  const auto own =
      fields.integer("original_max_position_embeddings", 1, max_positions, original.usual);
  rope.original_max_position = original.in_top.value_or(own);
  return rope;
}

// Llama, Gemma 2: one rope for all layers; `rope_scaling` (transformers 4, rope_theta beside it)
// goes before `rope_parameters` (5).
void read_one_rope(JsonFields& fields, Problems& problems, ModelConfig& config) {
  const double theta = fields.positive("rope_theta", 10000);
  OriginalLength original{config.max_position, {}};
  if (fields.has("original_max_position_embeddings"))
    original.in_top = fields.integer("original_max_position_embeddings", 1, max_positions);
  static const json none = json::object();
  for (const std::string key : {"rope_scaling", "rope_parameters"}) {
    const auto* object = fields.object(key);
    if (object == nullptr) continue;
    config.rope = read_rope({*object, key + ".", problems}, theta, original);
    config.rope_sliding = config.rope;
    return;
  }
  config.rope = config.rope_sliding = read_rope({none, "", problems}, theta, original);
}

// Gemma 3: full and sliding layers have their own; `rope_scaling` (transformers 4) is of the full
// layers alone, where its fields go before those of `rope_parameters` (5).
void read_two_ropes(JsonFields& fields, Problems& problems, ModelConfig& config) {
  const double theta = fields.positive("rope_theta", 1e6);
  const double local_theta = fields.positive("rope_local_base_freq", 1e4);
  static const json none = json::object();
  const auto* nested = fields.object("rope_parameters");
  const auto* scaling = fields.object("rope_scaling");
  const OriginalLength original{config.max_position, {}};
  if (nested == nullptr) {
    config.rope =
        read_rope({scaling ? *scaling : none, "rope_scaling.", problems}, theta, original);
    config.rope_sliding.theta = local_theta;
    return;
  }
  JsonFields parts(*nested, "rope_parameters.", problems);
  const auto* full = parts.object("full_attention");
  const auto* sliding = parts.object("sliding_attention");
  if (full == nullptr && sliding == nullptr && !nested->empty())
    fields.problem("rope_parameters", "full_attention and sliding_attention are expected in it");
  auto merged = full ? *full : none;
  if (scaling != nullptr) merged.update(*scaling);
  const JsonFields full_fields(
      merged, scaling ? "rope_scaling." : "rope_parameters.full_attention.", problems);
  config.rope = read_rope(full_fields, theta, original);
  config.rope_sliding =
      read_rope({sliding ? *sliding : none, "rope_parameters.sliding_attention.", problems},
                local_theta, original);
}

// layer_types, or the architecture's pattern: Gemma 2 slides in even layers (0, 2, ...), Gemma 3 in
// all but each sixth.
std::vector<bool> read_sliding(JsonFields& fields, const json& object, const ModelConfig& config) {
  std::vector<bool> sliding(static_cast<std::size_t>(config.layers), false);
  const std::int64_t pattern = config.architecture == Architecture::gemma3
                                   ? fields.integer("sliding_window_pattern", 1, max_layers, 6)
                                   : 2;
  if (!fields.has("layer_types")) {
    for (std::int64_t i = 0; i < config.layers; ++i) sliding[i] = (i + 1) % pattern != 0;
    return sliding;
  }
  const auto& types = object.at("layer_types");
  if (!types.is_array() || static_cast<std::int64_t>(types.size()) != config.layers) {
    fields.problem("layer_types", "a list with an entry for each of the " +
                                      std::to_string(config.layers) + " layers is expected");
    return sliding;
  }
  for (std::size_t i = 0; i < types.size(); ++i) {
    sliding[i] = types[i] == "sliding_attention";
    if (!sliding[i] && types[i] != "full_attention")
      fields.problem("layer_types[" + std::to_string(i) + "]",
                     "full_attention or sliding_attention is expected");
  }
  return sliding;
}

void read_gemma(JsonFields& fields, const json& object, ModelConfig& config) {
  config.norm_unit_offset = config.sandwich_norms = true;
  config.qk_norm = config.architecture == Architecture::gemma3;
  config.embedding_scale = static_cast<float>(std::sqrt(static_cast<double>(config.width)));
  config.attention_scale = 1 / std::sqrt(fields.positive("query_pre_attn_scalar", 256));
  const bool gemma2 = config.architecture == Architecture::gemma2;
  config.logit_softcap = fields.optional_positive("final_logit_softcapping", gemma2 ? 30 : 0);
  config.attention_softcap = fields.optional_positive("attn_logit_softcapping", gemma2 ? 50 : 0);
  if (!gemma2 && config.attention_softcap != 0)
    fields.problem("attn_logit_softcapping", "only null is supported in Gemma 3");
  config.sliding = read_sliding(fields, object, config);
  if (std::find(config.sliding.begin(), config.sliding.end(), true) != config.sliding.end())
    config.sliding_window =
        fields.integer("sliding_window", 1, max_positions,
                       object.contains("sliding_window") ? std::optional<std::int64_t>()
                                                         : std::optional<std::int64_t>(4096));
}

StoredType read_stored_type(JsonFields& fields) {
  const auto* key = fields.has("dtype") ? "dtype" : "torch_dtype";
  const auto name = fields.text(key, std::string(torch_dtype_name(StoredType::f32)));
  for (const auto type : {StoredType::f32, StoredType::f16, StoredType::bf16})
    if (name == torch_dtype_name(type)) return type;
  fields.problem(key, name + " is not supported, float32, float16 and bfloat16 are");
  return StoredType::f32;
}

// -1 says "none" in some older files.
std::optional<std::int32_t> read_token(JsonFields& fields, const std::string& key,
                                       std::int64_t vocab) {
  if (!fields.has(key)) return std::nullopt;
  const auto id = fields.integer(key, -1, vocab - 1);
  if (id < 0) return std::nullopt;
  return static_cast<std::int32_t>(id);
}

// eos_token_id: a number or a list of numbers.
void add_stop_ids(const json& object, Problems& problems, std::int64_t vocab,
                  std::set<std::int32_t>& ids) {
  const auto found = object.find("eos_token_id");
  if (found == object.end() || found->is_null()) return;
  const json list = found->is_array() ? *found : json::array({*found});
  for (const auto& id_value : list) {
    const json item = {{"eos_token_id", id_value}};
    JsonFields fields(item, "", problems);
    if (const auto id = read_token(fields, "eos_token_id", vocab)) ids.insert(*id);
  }
}

void read_special_tokens(const std::filesystem::path& dir, const json& object, Problems& problems,
                         ModelConfig& config) {
  JsonFields fields(object, "", problems);
  config.bos_id = read_token(fields, "bos_token_id", config.vocab);
  config.pad_id = read_token(fields, "pad_token_id", config.vocab);
  std::set<std::int32_t> stop_ids;
  add_stop_ids(object, problems, config.vocab, stop_ids);

  const auto path = dir / "generation_config.json";
  if (is_there(path)) {
    const auto generation = read_json_object(path, max_config_bytes);
    Problems found;
    JsonFields more(generation, "", found);
    if (!config.bos_id) config.bos_id = read_token(more, "bos_token_id", config.vocab);
    if (!config.pad_id) config.pad_id = read_token(more, "pad_token_id", config.vocab);
    // As in transformers, where the file is there config.json's are not looked at.
    std::set<std::int32_t> own;
    add_stop_ids(generation, found, config.vocab, own);
    stop_ids = std::move(own);
    for (const auto& line : found.list()) problems.add("generation_config.json", line);
  }
  config.stop_ids.assign(stop_ids.begin(), stop_ids.end());
}

}  // namespace

ModelConfig read_config(const std::filesystem::path& dir) {
  const auto path = dir / "config.json";
  if (!is_there(path))
    throw DataError(path.string() +
                    ": missing; a model directory is expected, with config.json, "
                    "safetensors files and tokenizer.json");
  const auto object = read_json_object(path, max_config_bytes);
  Problems problems;
  JsonFields fields(object, "", problems);

  ModelConfig config;
  config.architecture = read_architecture(object, path.string());
  read_sizes(fields, config);
  config.norm_eps = fields.positive("rms_norm_eps", 1e-6);
  config.activation = read_activation(fields, config.architecture);
  config.attention_bias = fields.flag("attention_bias", false);
  config.tied = fields.flag("tie_word_embeddings", is_gemma(config.architecture));
  config.stored_type = read_stored_type(fields);
  config.attention_scale = 1 / std::sqrt(static_cast<double>(config.head_dim));
  config.sliding.assign(static_cast<std::size_t>(config.layers), false);
  if (is_gemma(config.architecture)) read_gemma(fields, object, config);
  if (config.architecture == Architecture::gemma3)
    read_two_ropes(fields, problems, config);
  else
    read_one_rope(fields, problems, config);
  refuse_unsupported(fields);
  read_special_tokens(dir, object, problems, config);
  problems.throw_if_any<DataError>(path.string() + " is not usable:");
  return config;
}

std::string to_string(Architecture architecture) {
  switch (architecture) {
    case Architecture::llama:
      return "llama";
    case Architecture::gemma2:
      return "gemma2";
    case Architecture::gemma3:
      return "gemma3";
  }
  throw InternalError("to_string: not an architecture");
}

}  // namespace quench::model
