#include "model/checkpoint.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>

#include "cluster/error.hpp"
#include "model/files.hpp"
#include "model/safetensors.hpp"

namespace quench::model {
namespace {

constexpr std::int64_t max_index_bytes = 100'000'000;
constexpr std::int64_t block_numbers = std::int64_t{1} << 20;  // decoded at a time: fits the cache

const std::string single_file = "model.safetensors";
const std::string index_file = "model.safetensors.index.json";

// A shard is a plain file name: an index must not lead out of its directory.
bool is_plain_name(const std::string& name) {
  return !name.empty() && name.front() != '.' &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos;
}

// Tensor name -> shard file name.
std::map<std::string, std::string> read_index(const std::filesystem::path& path) {
  const auto index = read_json_object(path, max_index_bytes);
  const auto map = index.find("weight_map");
  if (map == index.end() || !map->is_object() || map->empty())
    throw DataError(path.string() + ": weight_map: an object with entries is expected");
  std::map<std::string, std::string> shards;
  for (const auto& [name, shard] : map->items()) {
    if (!shard.is_string() || !is_plain_name(shard.get<std::string>()))
      throw DataError(path.string() + ": weight_map: " + name + ": " +
                      shard.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) +
                      " is not the name of a file in this directory");
    shards.emplace(name, shard.get<std::string>());
  }
  return shards;
}

std::map<std::string, TensorEntry> read_shards(const std::filesystem::path& dir) {
  const auto path = dir / index_file;
  const auto shard_of = read_index(path);
  std::set<std::string> files;
  for (const auto& [name, shard] : shard_of) files.insert(shard);

  std::map<std::string, TensorEntry> entries;
  for (const auto& file : files) {
    if (!is_there(dir / file))
      throw DataError((dir / file).string() + ": missing, but " + index_file +
                      " names it; fetch it again");
    for (auto& [name, entry] : read_safetensors_header(dir / file)) {
      const auto [place, added] = entries.emplace(name, std::move(entry));
      if (!added)
        throw DataError((dir / file).string() + ": " + name + " is in " +
                        place->second.file.filename().string() + " too");
    }
  }
  for (const auto& [name, shard] : shard_of) {
    const auto found = entries.find(name);
    if (found == entries.end() || found->second.file.filename() != shard)
      throw DataError(path.string() + ": weight_map: " + name + " is not in " + shard);
  }
  return entries;
}

[[noreturn]] void no_weights(const std::filesystem::path& dir) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(dir, ignored))
    throw DataError(dir.string() + ": not a directory");
  std::string text = dir.string() + ": has neither " + single_file + " nor " + index_file;
  for (const auto& entry : std::filesystem::directory_iterator(dir, ignored))
    if (const auto kind = entry.path().extension();
        kind == ".bin" || kind == ".pth" || kind == ".pt")
      throw DataError(text + ". " + entry.path().filename().string() +
                      " is a Python pickle, which can run code when it is opened and is never "
                      "read here; convert it with transformers: "
                      "AutoModelForCausalLM.from_pretrained(dir).save_pretrained(new_dir)");
    else if (kind == ".gguf")
      throw DataError(text +
                      "; a GGUF file is to be converted with transformers: "
                      "AutoModelForCausalLM.from_pretrained(dir, gguf_file=name)"
                      ".save_pretrained(new_dir)");
  throw DataError(text);
}

std::string show(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (const auto size : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + "]";
}

void add_layer(const ModelConfig& config, const std::string& prefix,
               std::map<std::string, std::vector<std::int64_t>>& tensors) {
  const auto q_width = config.heads * config.head_dim;
  const auto kv_width = config.kv_heads * config.head_dim;
  const auto projection = [&](const std::string& name, std::int64_t out, std::int64_t in) {
    tensors[prefix + "self_attn." + name + ".weight"] = {out, in};
    if (config.attention_bias) tensors[prefix + "self_attn." + name + ".bias"] = {out};
  };
  projection("q_proj", q_width, config.width);
  projection("k_proj", kv_width, config.width);
  projection("v_proj", kv_width, config.width);
  projection("o_proj", config.width, q_width);
  tensors[prefix + "mlp.gate_proj.weight"] = {config.mlp_width, config.width};
  tensors[prefix + "mlp.up_proj.weight"] = {config.mlp_width, config.width};
  tensors[prefix + "mlp.down_proj.weight"] = {config.width, config.mlp_width};
  tensors[prefix + "input_layernorm.weight"] = {config.width};
  tensors[prefix + "post_attention_layernorm.weight"] = {config.width};
  if (config.sandwich_norms) {
    tensors[prefix + "pre_feedforward_layernorm.weight"] = {config.width};
    tensors[prefix + "post_feedforward_layernorm.weight"] = {config.width};
  }
  if (config.qk_norm) {
    tensors[prefix + "self_attn.q_norm.weight"] = {config.head_dim};
    tensors[prefix + "self_attn.k_norm.weight"] = {config.head_dim};
  }
}

bool holds_the_same(const Checkpoint& checkpoint, const std::string& a, const std::string& b) {
  const auto &one = checkpoint.at(a), &other = checkpoint.at(b);
  if (one.shape != other.shape || one.dtype != other.dtype) return false;
  std::vector<float> numbers(static_cast<std::size_t>(std::min(one.count(), block_numbers)));
  auto others = numbers;
  for (std::int64_t first = 0; first < one.count(); first += block_numbers) {
    const auto count = static_cast<std::size_t>(std::min(block_numbers, one.count() - first));
    checkpoint.read_part(a, first, std::span(numbers).first(count));
    checkpoint.read_part(b, first, std::span(others).first(count));
    if (std::memcmp(numbers.data(), others.data(), count * sizeof(float)) != 0) return false;
  }
  return true;
}

}  // namespace

std::int64_t TensorEntry::count() const {
  std::int64_t product = 1;
  for (const auto size : shape) product *= size;
  return product;
}

Checkpoint Checkpoint::open(const std::filesystem::path& dir) {
  Checkpoint checkpoint;
  checkpoint.dir_ = dir;
  if (is_there(dir / single_file))
    checkpoint.entries_ = read_safetensors_header(dir / single_file);
  else if (is_there(dir / index_file))
    checkpoint.entries_ = read_shards(dir);
  else
    no_weights(dir);
  return checkpoint;
}

const TensorEntry& Checkpoint::at(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end())
    throw DataError(dir_.string() + ": the weights have no tensor " + name);
  return found->second;
}

void Checkpoint::read(const std::string& name, std::span<float> out) const {
  if (static_cast<std::int64_t>(out.size()) != at(name).count())
    throw InternalError("Checkpoint::read: " + name + " has another size");
  read_part(name, 0, out);
}

void Checkpoint::read_part(const std::string& name, std::int64_t first,
                           std::span<float> out) const {
  const auto& entry = at(name);
  if (!entry.readable)
    throw DataError(entry.file.string() + ": " + name + ": dtype " + entry.dtype +
                    " is not supported, F32, F16 and BF16 are");
  const auto total = static_cast<std::int64_t>(out.size());
  if (first < 0 || first > entry.count() - total)
    throw InternalError("Checkpoint::read_part: outside of " + name);
  const auto width = size_of(entry.type);
  const auto file = File::open_to_read(entry.file);
  std::vector<std::byte> stored(static_cast<std::size_t>(std::min(total, block_numbers) * width));
  for (std::int64_t done = 0; done < total; done += block_numbers) {
    const auto count = std::min(block_numbers, total - done);
    const auto block = std::span(stored).first(static_cast<std::size_t>(count * width));
    file.read_at(entry.offset + (first + done) * width, block);
    decode(entry.type, block,
           out.subspan(static_cast<std::size_t>(done), static_cast<std::size_t>(count)));
  }
}

std::map<std::string, std::vector<std::int64_t>> expected_tensors(const ModelConfig& config) {
  std::map<std::string, std::vector<std::int64_t>> tensors;
  tensors[embedding_name] = {config.vocab, config.width};
  if (!config.tied) tensors[lm_head_name] = {config.vocab, config.width};
  tensors["model.norm.weight"] = {config.width};
  for (std::int64_t layer = 0; layer < config.layers; ++layer)
    add_layer(config, "model.layers." + std::to_string(layer) + ".", tensors);
  return tensors;
}

void settle(ModelConfig& config, const Checkpoint& checkpoint) {
  if (!checkpoint.contains(embedding_name)) return;
  const auto& embedding = checkpoint.at(embedding_name);
  if (!embedding.readable) return;
  config.stored_type = embedding.type;
  if (config.tied && checkpoint.contains(lm_head_name))
    config.tied = holds_the_same(checkpoint, embedding_name, lm_head_name);
}

namespace {

// One more than the highest layer that has a tensor; 0: none has.
std::int64_t layers_of(const Checkpoint& checkpoint) {
  constexpr std::string_view prefix = "model.layers.";
  std::int64_t layers = 0;
  for (const auto& [name, entry] : checkpoint.entries()) {
    if (!name.starts_with(prefix)) continue;
    std::int64_t layer = -1;
    std::from_chars(name.data() + prefix.size(), name.data() + name.size(), layer);
    layers = std::max(layers, layer + 1);
  }
  return layers;
}

}  // namespace

void check_tensors(const ModelConfig& config, const Checkpoint& checkpoint) {
  Problems problems;
  const auto layers = layers_of(checkpoint);
  if (layers > 0 && layers < config.layers)
    throw DataError(checkpoint.directory().string() +
                    ": the weights do not fit config.json: num_hidden_layers is " +
                    std::to_string(config.layers) + ", the weights have " + std::to_string(layers) +
                    " layers");
  for (const auto& [name, shape] : expected_tensors(config)) {
    if (!checkpoint.contains(name)) {
      problems.add(name, "missing");
      continue;
    }
    const auto& entry = checkpoint.at(name);
    if (entry.shape != shape)
      problems.add(name,
                   "has shape " + show(entry.shape) + ", config.json asks for " + show(shape));
    if (!entry.readable)
      problems.add(name, "dtype " + entry.dtype +
                             " is not supported, F32, F16 and BF16 are; "
                             "store a quantised model in one of these");
  }
  problems.throw_if_any<DataError>(checkpoint.directory().string() +
                                   ": the weights do not fit config.json:");
}

std::vector<std::string> unused_tensors(const ModelConfig& config, const Checkpoint& checkpoint) {
  const auto expected = expected_tensors(config);
  // Older files keep the frequencies of the rotary embedding, which follow from config.json; files
  // of a tied model may repeat the embedding as the head.
  const auto harmless = [&](const std::string& name) {
    return name.ends_with(".rotary_emb.inv_freq") || (config.tied && name == lm_head_name);
  };
  std::vector<std::string> unused;
  for (const auto& [name, entry] : checkpoint.entries())
    if (!expected.contains(name) && !harmless(name)) unused.push_back(name);
  return unused;
}

}  // namespace quench::model
