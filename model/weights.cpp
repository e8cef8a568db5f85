#include "model/weights.hpp"

#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <map>
#include <span>

#include "cluster/collectives.hpp"
#include "cluster/error.hpp"
#include "cluster/log.hpp"

namespace quench::model {
namespace {

constexpr std::int64_t alignment = 64;  // bytes: a cache line, an AVX-512 register
constexpr std::int64_t piece_numbers = std::int64_t{1} << 22;  // read by one thread at a time

struct Slot {
  const char* suffix;  // of the Hugging Face name, after "model.layers.N."
  at::Tensor LayerWeights::*tensor;
};
constexpr std::array<Slot, 14> slots = {{
    {"self_attn.q_proj.weight", &LayerWeights::q},
    {"self_attn.k_proj.weight", &LayerWeights::k},
    {"self_attn.v_proj.weight", &LayerWeights::v},
    {"self_attn.o_proj.weight", &LayerWeights::o},
    {"self_attn.q_proj.bias", &LayerWeights::q_bias},
    {"self_attn.k_proj.bias", &LayerWeights::k_bias},
    {"self_attn.v_proj.bias", &LayerWeights::v_bias},
    {"self_attn.o_proj.bias", &LayerWeights::o_bias},
    {"self_attn.q_norm.weight", &LayerWeights::q_norm},
    {"self_attn.k_norm.weight", &LayerWeights::k_norm},
    {"mlp.gate_proj.weight", &LayerWeights::gate},
    {"mlp.up_proj.weight", &LayerWeights::up},
    {"mlp.down_proj.weight", &LayerWeights::down},
    {"input_layernorm.weight", &LayerWeights::input_norm},
}};
constexpr std::array<Slot, 1> plain_norms = {{
    {"post_attention_layernorm.weight", &LayerWeights::pre_mlp_norm},
}};
constexpr std::array<Slot, 3> sandwich_norms = {{
    {"post_attention_layernorm.weight", &LayerWeights::post_attention_norm},
    {"pre_feedforward_layernorm.weight", &LayerWeights::pre_mlp_norm},
    {"post_feedforward_layernorm.weight", &LayerWeights::post_mlp_norm},
}};

// Calls visit(name, tensor) for each place of a model, defined or not.
template <typename Visit>
void for_each_place(Weights& weights, bool sandwich, const Visit& visit) {
  const auto norms = sandwich ? std::span<const Slot>(sandwich_norms) : std::span(plain_norms);
  visit(embedding_name, weights.embedding);
  for (std::size_t i = 0; i < weights.layers.size(); ++i) {
    const auto prefix = "model.layers." + std::to_string(i) + ".";
    for (const auto part : {std::span<const Slot>(slots), norms})
      for (const auto& slot : part) visit(prefix + slot.suffix, weights.layers[i].*slot.tensor);
  }
  visit("model.norm.weight", weights.final_norm);
  visit(lm_head_name, weights.lm_head);
}

// Where each tensor starts in the window, in floats.
struct Layout {
  std::map<std::string, std::int64_t> starts;
  std::int64_t bytes = 0;
};

std::int64_t count_of(const std::vector<std::int64_t>& shape) {
  std::int64_t count = 1;
  for (const auto size : shape) count *= size;
  return count;
}

using Tensors = std::map<std::string, std::vector<std::int64_t>>;  // name -> shape

Layout lay_out(const Tensors& tensors) {
  constexpr std::int64_t step = alignment / static_cast<std::int64_t>(sizeof(float));
  Layout layout;
  std::int64_t next = 0;
  for (const auto& [name, shape] : tensors) {
    layout.starts[name] = next;
    next += (count_of(shape) + step - 1) / step * step;
  }
  layout.bytes = next * static_cast<std::int64_t>(sizeof(float));
  return layout;
}

// A stretch of one tensor, small enough that threads share the work evenly.
struct Piece {
  const std::string* name;
  std::int64_t first, count;
};

// A NaN or an infinity in the weights makes every score one, and nothing later says why.
void check_finite(const Checkpoint& checkpoint, const Piece& piece,
                  std::span<const float> numbers) {
  constexpr std::uint32_t exponent = 0x7f80'0000;  // all of its bits: infinity or NaN
  std::uint32_t bad = 0;                           // counted without a branch, so by vectors
  for (const float number : numbers)
    bad +=
        static_cast<std::uint32_t>((std::bit_cast<std::uint32_t>(number) & exponent) == exponent);
  if (bad == 0) return;
  const auto first = std::ranges::find_if_not(numbers, [](float x) { return std::isfinite(x); });
  throw DataError(checkpoint.at(*piece.name).file.string() + ": " + *piece.name + ": number " +
                  std::to_string(piece.first + (first - numbers.begin())) + " is " +
                  (std::isnan(*first) ? "not a number (NaN)" : "infinite") +
                  "; the weights are damaged, fetch or make them again");
}

void read_all(const Checkpoint& checkpoint, const Tensors& tensors, const Layout& layout,
              float* window) {
  std::vector<Piece> pieces;
  for (const auto& [name, shape] : tensors)
    for (std::int64_t first = 0, count = count_of(shape); first < count; first += piece_numbers)
      pieces.push_back({&name, first, std::min(piece_numbers, count - first)});
  at::parallel_for(0, std::ssize(pieces), 1, [&](std::int64_t begin, std::int64_t end) {
    for (const auto& piece : std::span(pieces).subspan(begin, end - begin)) {
      const std::span<float> out(window + layout.starts.at(*piece.name) + piece.first,
                                 static_cast<std::size_t>(piece.count));
      checkpoint.read_part(*piece.name, piece.first, out);
      check_finite(checkpoint, piece, out);
    }
  });
}

void warn_of_unused(const ModelConfig& config, const Checkpoint& checkpoint) {
  const auto unused = unused_tensors(config, checkpoint);
  if (unused.empty()) return;
  cluster::log_warning(checkpoint.directory().string() + ": config.json has no use for " +
                       std::to_string(unused.size()) + " of the tensors, the first is " +
                       unused.front() + "; is it the config.json of these weights?");
}

Weights wrap(const ModelConfig& config, const Tensors& tensors, const Layout& layout,
             float* window) {
  Weights weights;
  weights.layers.resize(static_cast<std::size_t>(config.layers));
  for_each_place(weights, config.sandwich_norms, [&](const std::string& name, at::Tensor& tensor) {
    const auto start = layout.starts.find(name);
    if (start != layout.starts.end())
      tensor = at::from_blob(window + start->second, tensors.at(name), at::kFloat);
  });
  if (config.tied) weights.lm_head = weights.embedding;
  return weights;
}

void check_deltas(const at::Tensor& embedding, const RowDeltas& deltas) {
  const auto& ids = deltas.ids;
  const bool shaped = embedding.dim() == 2 && embedding.size(1) == deltas.width &&
                      std::ssize(deltas.values) == std::ssize(ids) * deltas.width;
  const bool ordered = std::ranges::adjacent_find(ids, std::greater_equal<>()) == ids.end();
  if (!shaped || !ordered) throw InternalError("make_overlay: deltas do not fit the embedding");
  if (!ids.empty() && (ids.front() < 0 || ids.back() >= embedding.size(0)))
    throw InternalError("make_overlay: an id is outside the vocabulary");
}

}  // namespace

void Weights::for_each(const std::function<void(const std::string&, at::Tensor&)>& visit) {
  const bool sandwich = !layers.empty() && layers.front().post_attention_norm.defined();
  for_each_place(*this, sandwich, [&](const std::string& name, at::Tensor& tensor) {
    if (tensor.defined()) visit(name, tensor);
  });
}

SharedWeights load_weights(cluster::Communicator& node, const ModelConfig& config,
                           const Checkpoint& checkpoint) {
  cluster::agree(node, [&] { check_tensors(config, checkpoint); });
  const auto tensors = expected_tensors(config);
  const auto layout = lay_out(tensors);

  SharedWeights shared;
  shared.memory = node.shared_memory(layout.bytes);
  auto* window = reinterpret_cast<float*>(shared.memory->data());
  cluster::agree(node, [&] {
    if (node.rank() != 0) return;
    warn_of_unused(config, checkpoint);
    read_all(checkpoint, tensors, layout, window);
  });
  node.barrier();  // publishes what rank 0 wrote
  shared.weights = wrap(config, tensors, layout, window);
  return shared;
}

bool RowOverlay::edits(std::int32_t id) const { return std::ranges::binary_search(ids, id); }

RowOverlay make_overlay(const at::Tensor& embedding, StoredType type, const RowDeltas& deltas,
                        double strength) {
  check_deltas(embedding, deltas);
  const auto count = std::ssize(deltas.ids);
  const auto factor = static_cast<float>(strength);

  RowOverlay overlay;
  overlay.ids = deltas.ids;
  overlay.row_of_id = at::full({embedding.size(0)}, -1, at::kInt);
  auto* row_of_id = overlay.row_of_id.mutable_data_ptr<std::int32_t>();
  const auto index = at::empty({count}, at::kLong);
  for (std::int64_t i = 0; i < count; ++i) {
    row_of_id[deltas.ids[i]] = static_cast<std::int32_t>(i);
    index.mutable_data_ptr<std::int64_t>()[i] = deltas.ids[i];
  }

  overlay.rows = embedding.index_select(0, index.to(embedding.device())).to(at::kCPU, at::kFloat);
  auto* values = overlay.rows.mutable_data_ptr<float>();
  for (std::int64_t i = 0; i < count * deltas.width; ++i) {
    values[i] = round_to(type, values[i] - factor * deltas.values[i]);
    if (!std::isfinite(values[i]))
      throw DataError("The edit of token id " + std::to_string(deltas.ids[i / deltas.width]) +
                      " is not finite in " + std::string(torch_dtype_name(type)) +
                      "; choose a smaller strength than " + std::to_string(strength));
  }
  return overlay;
}

std::vector<std::byte> stored_row(const RowOverlay& overlay, std::int64_t i, StoredType type) {
  const auto row = overlay.rows[i].to(at::kCPU, at::kFloat).contiguous();
  const auto width = static_cast<std::size_t>(row.numel());
  std::vector<std::byte> stored(width * static_cast<std::size_t>(size_of(type)));
  encode(type, {row.const_data_ptr<float>(), width}, stored);
  return stored;
}

void check_overlay(const ModelConfig& config, const RowOverlay& overlay) {
  if (overlay.empty()) return;
  const bool fits = overlay.rows.dim() == 2 && overlay.rows.size(0) == std::ssize(overlay.ids) &&
                    overlay.rows.size(1) == config.width && overlay.ids.front() >= 0 &&
                    overlay.ids.back() < config.vocab;
  if (!fits) throw InternalError("the edited rows do not fit the model");
}

}  // namespace quench::model
