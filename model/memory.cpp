#include "model/memory.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>

#include "cluster/error.hpp"
#include "model/checkpoint.hpp"

namespace quench::model {
namespace {

constexpr std::int64_t unlimited = std::numeric_limits<std::int64_t>::max();
constexpr double float_bytes = 4;
// A rank before it has done anything: libraries' own data, thread stacks, message buffers.
constexpr std::int64_t process_bytes = std::int64_t{192} << 20;
// Scoring walks the vocabulary in slices, so its logits are bounded whatever the batch.
constexpr double sliced_logit_floats = 3 * (1 << 22);
constexpr double row_tokens = 512;  // a batch is many rows: sentences, questions, paragraphs

// Estimates are made in float64, where nothing overflows.
std::int64_t to_bytes(double bytes) {
  return bytes >= static_cast<double>(unlimited) ? unlimited : static_cast<std::int64_t>(bytes);
}

double parameters(const ModelConfig& config) {
  double sum = 0;
  for (const auto& [name, shape] : expected_tensors(config)) {
    double count = 1;
    for (const auto size : shape) count *= static_cast<double>(size);
    sum += count;
  }
  return sum;
}

// Floats of one token inside one layer: the residual stream and three products of it, queries,
// keys, values and the heads' result, gate, up, the activated gate and their product.
double layer_floats(const ModelConfig& config) {
  return static_cast<double>(4 * config.width +
                             2 * (config.heads + config.kv_heads) * config.head_dim +
                             4 * config.mlp_width);
}

// Attention scores of rows of `row_tokens`, before and after soft-capping and softmax. Without a
// soft cap the fused kernel forms none.
double score_floats(const ModelConfig& config, double tokens) {
  if (config.attention_softcap == 0) return 0;
  return 3 * static_cast<double>(config.heads) * tokens * std::min(tokens, row_tokens);
}

// Keys and values of all layers, as generation keeps them.
double cache_floats(const ModelConfig& config, double tokens) {
  return 2 * static_cast<double>(config.layers * config.kv_heads * config.head_dim) * tokens;
}

std::optional<std::string> read_line(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  return line;
}

// "max" and everything else that is no number: none.
std::optional<std::int64_t> read_number(const std::filesystem::path& path) {
  const auto line = read_line(path);
  if (!line) return std::nullopt;
  std::istringstream in(*line);
  std::int64_t number = 0;
  if (!(in >> number)) return std::nullopt;
  return number;
}

// The number after `key` in a file of "key number" lines.
std::optional<std::int64_t> find_number(const std::filesystem::path& path, const std::string& key) {
  std::ifstream file(path);
  std::string word;
  while (file >> word) {
    std::int64_t number = 0;
    if (word == key && file >> number) return number;
    file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return std::nullopt;
}

// Names of one memory controller's files.
struct Controller {
  const char *limit, *usage, *cache;
};
constexpr Controller version2{"memory.max", "memory.current", "inactive_file"};
constexpr Controller version1{"memory.limit_in_bytes", "memory.usage_in_bytes",
                              "total_inactive_file"};

// A limit holds for the group and all below it, so every ancestor counts. Inside a container the
// group's path may be one of the host that is not there; its mount's top is.
std::int64_t left_in_groups(const std::filesystem::path& mount, std::filesystem::path group,
                            const Controller& files) {
  std::int64_t left = unlimited;
  while (true) {
    const auto dir = mount / group;
    const auto limit = read_number(dir / files.limit);
    const auto usage = read_number(dir / files.usage);
    if (limit && usage) {
      const auto cache = find_number(dir / "memory.stat", files.cache).value_or(0);
      left = std::min(left, std::max<std::int64_t>(*limit - *usage + cache, 0));
    }
    if (group.empty()) return left;
    group = group.parent_path();
  }
}

// Lines "number:controllers:/path" of /proc/self/cgroup; version 2 has no controllers named.
std::int64_t left_in_cgroups(const std::filesystem::path& root) {
  std::ifstream file(root / "proc/self/cgroup");
  std::int64_t left = unlimited;
  for (std::string line; std::getline(file, line);) {
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    auto controllers = line.substr(first, second - first + 1);
    std::ranges::replace(controllers, ':', ',');
    const auto group = std::filesystem::path(line.substr(second + 1)).relative_path();
    if (controllers == ",,")
      left = std::min(left, left_in_groups(root / "sys/fs/cgroup", group, version2));
    else if (controllers.find(",memory,") != std::string::npos)
      left = std::min(left, left_in_groups(root / "sys/fs/cgroup/memory", group, version1));
  }
  return left;
}

}  // namespace

std::int64_t long_row_bytes(const ModelConfig& config, std::int64_t tokens) {
  constexpr double mask_bytes = 16;  // of a pair of tokens: differences, truth values, float32
  const auto n = static_cast<double>(tokens);
  const bool masked = config.sliding_window > 0 && tokens > config.sliding_window;
  const double scores = config.attention_softcap > 0
                            ? 3 * float_bytes * static_cast<double>(config.heads) + mask_bytes
                            : 0;
  const double pairs = std::max(masked ? mask_bytes : 0, scores) * n * n;
  return to_bytes(pairs + static_cast<double>(estimate_memory(config, tokens, 0).activations));
}

std::int64_t MemoryEstimate::total(int ranks_on_node) const {
  const auto of_ranks = [&](std::int64_t bytes) {
    return ranks_on_node * static_cast<double>(bytes);
  };
  const double stage = std::max(of_ranks(std::max(activations, training)),
                                of_ranks(factorisation) + static_cast<double>(gathered));
  return to_bytes(static_cast<double>(weights) + of_ranks(process_bytes) + stage);
}

// With P parameters, L layers, V tokens in the vocabulary, T tokens of a batch, S of a training
// step:
//   weights        4 P
//   activations    4 (T layer + scores(T) + cache(T) + a slice of logits): layers reuse memory
//   training       4 (4 P + L (S layer + scores(S)) + 3 S V): weights, gradients and two moments;
//                  every layer's activations wait for the backward pass; logits, their
//                  log-probabilities and gradients
MemoryEstimate estimate_memory(const ModelConfig& config, std::int64_t batch_tokens,
                               std::int64_t train_tokens) {
  const auto batch = static_cast<double>(batch_tokens), step = static_cast<double>(train_tokens);
  const double count = parameters(config), layer = layer_floats(config);

  MemoryEstimate estimate;
  estimate.weights = to_bytes(float_bytes * count);
  estimate.activations =
      to_bytes(float_bytes * (batch * layer + score_floats(config, batch) +
                              cache_floats(config, batch) + sliced_logit_floats));
  if (train_tokens > 0) {
    const double layers =
        static_cast<double>(config.layers) * (step * layer + score_floats(config, step));
    const double logits = 3 * step * static_cast<double>(config.vocab);
    estimate.training = to_bytes(float_bytes * (4 * count + layers + logits));
  }
  return estimate;
}

std::int64_t available_memory(const std::filesystem::path& root) {
  const auto kibibytes = find_number(root / "proc/meminfo", "MemAvailable:");
  return std::min(kibibytes ? *kibibytes * 1024 : unlimited, left_in_cgroups(root));
}

void check_memory(const MemoryEstimate& estimate, int ranks_on_node, std::int64_t available) {
  const auto needed = estimate.total(ranks_on_node);
  if (needed <= available) return;
  std::string text = "This run needs about " + format_bytes(needed) + " of memory on a node, " +
                     format_bytes(available) + " are available: " + format_bytes(estimate.weights) +
                     " for the weights, once a node, and for each of " +
                     std::to_string(ranks_on_node) + " ranks the largest of " +
                     format_bytes(estimate.activations) + " (batches)";
  if (estimate.factorisation > 0)
    text += ", " + format_bytes(estimate.factorisation) + " (dictionary)";
  if (estimate.training > 0) text += ", " + format_bytes(estimate.training) + " (attacks)";
  if (estimate.gathered > 0)
    text += "; " + format_bytes(estimate.gathered) + " more on one of them (the joint dictionary)";
  text += ". Give it fewer ranks a node";
  if (estimate.factorisation > 0) text += ", a smaller batch_tokens";  // of a run's configuration
  if (estimate.training > 0) text += ", no attacks";
  text += ", or nodes with more memory.";
  throw ConfigError(text);
}

std::string format_bytes(std::int64_t bytes) {
  constexpr std::array<const char*, 7> units = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  // 1023.95 would be shown as 1024.0.
  while (std::abs(value) >= (unit == 0 ? 1024 : 1023.95) && unit + 1 < units.size()) {
    value /= 1024;
    ++unit;
  }
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
  return text.data();
}

}  // namespace quench::model
