#include "stages/activations/activations.hpp"

#include <cmath>
#include <numeric>
#include <optional>

#include "cluster/collectives.hpp"
#include "cluster/error.hpp"
#include "cluster/hash.hpp"
#include "cluster/log.hpp"
#include "cluster/partition.hpp"
#include "cluster/progress.hpp"
#include "stages/activations/activations_file.hpp"
#include "stages/activations/fit_record.hpp"
#include "stages/factorisation/resume.hpp"

namespace quench::activations {

namespace {

constexpr auto stage_name = "activations";
constexpr std::int64_t key_length = 64;  // hex digits of a SHA-256

// Of what decides one factorisation, whatever other layers are asked for.
std::string fingerprint_of(const Options& options) {
  auto copy = options;
  copy.layers.clear();
  OptionTable table;
  describe(copy, table);
  return table.fingerprint({"activations."}, {"activations.checkpoint"});
}

std::string hash_of(const std::vector<Tokens>& sentences) {
  cluster::Sha256 hash;
  for (const auto& sentence : sentences) {
    const auto bytes = std::as_bytes(std::span(sentence));
    hash.field({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }
  return hash.hex();
}

std::int64_t sum_positions(std::span<const Tokens> sentences, const Tokens& prefix) {
  return std::transform_reduce(
      sentences.begin(), sentences.end(), std::int64_t{0}, std::plus<>(),
      [&](const auto& sentence) { return positions_of(sentence, prefix); });
}

void check_tokens(std::span<const Tokens> sentences, std::int64_t vocab) {
  for (const auto& sentence : sentences)
    for (const auto token : sentence)
      if (token < 0 || token >= vocab)
        throw DataError("token " + std::to_string(token) + " is outside of the embedding of " +
                        std::to_string(vocab) +
                        " rows; tokenizer and weights are of different models");
}

// A rank's way through the layers of one concept after another. The queue gives a group a concept's
// layers in ascending order: each goes on where the last one ended.
class Walk {
 public:
  Walk(const Inputs& inputs, const Options& options) : inputs_(inputs), options_(options) {}

  // This rank's share of a concept's positions. Local.
  Positions positions(std::int64_t concept_index, std::int64_t layer,
                      const cluster::Communicator& group);

 private:
  void begin(std::int64_t concept_index, const cluster::Communicator& group);

  const Inputs& inputs_;
  const Options& options_;
  std::int64_t concept_ = -1;
  Positions shape_;  // of the concept, without activations
  std::optional<SentencePassages> passages_;
};

void Walk::begin(std::int64_t concept_index, const cluster::Communicator& group) {
  auto sentences = inputs_.sentences(concept_index);
  shape_.of_concept = sum_positions(std::span(sentences), inputs_.prefix);
  sentences.insert(sentences.end(), inputs_.neutral.begin(), inputs_.neutral.end());
  const auto all = std::span<const Tokens>(sentences);
  check_tokens(all, inputs_.model->config().vocab);
  const auto own = cluster::rows_of(std::ssize(all), group.size(), group.rank());
  shape_.count = sum_positions(all, inputs_.prefix);
  shape_.first = sum_positions(all.first(own.begin), inputs_.prefix);
  passages_.emplace(*inputs_.model, all.subspan(own.begin, own.size()), inputs_.prefix,
                    options_.batch_tokens);
  concept_ = concept_index;
}

Positions Walk::positions(std::int64_t concept_index, std::int64_t layer,
                          const cluster::Communicator& group) {
  if (concept_ != concept_index || passages_->next_layer() > layer) begin(concept_index, group);
  concept_ = -1;  // passages that an exception leaves half-way are of no use
  auto out = shape_;
  out.activations = passages_->at_layer(layer);
  concept_ = concept_index;
  return out;
}

// The stage, between its inputs and the block of results.
class Stage {
 public:
  Stage(const Inputs& inputs, const Options& options, cluster::Context& context)
      : inputs_(inputs),
        options_(options),
        context_(context),
        layers_(chosen_layers(options, inputs.model->config().layers)),
        walk_(inputs, options) {}

  // Collective over the world.
  Block run();
  const std::vector<std::int64_t>& layers() const { return layers_; }

 private:
  std::vector<cluster::Task> make_tasks();
  Fit fit(std::int64_t task, const std::string& key, cluster::Communicator& group);
  std::int64_t concept_of(std::int64_t task) const { return task / std::ssize(layers_); }
  std::int64_t layer_of(std::int64_t task) const { return layers_[task % std::ssize(layers_)]; }

  const Inputs& inputs_;
  const Options& options_;
  cluster::Context& context_;
  std::vector<std::int64_t> layers_;
  Walk walk_;
};

// Collective. Each rank reads the sentences of its share of the concepts; all ranks get all tasks,
// a concept's layers one after another and of equal cost, so that the queue keeps them together.
std::vector<cluster::Task> Stage::make_tasks() {
  auto& comm = context_.world();
  cluster::Sha256 common;
  common.field(stage_name).field(std::to_string(schema)).field(fingerprint_of(options_));
  common.field(inputs_.model_hash).field(hash_of(inputs_.neutral)).field(hash_of({inputs_.prefix}));
  const auto common_hash = common.hex();
  const auto neutral = sum_positions(std::span(inputs_.neutral), inputs_.prefix);
  std::string keys;
  std::vector<std::int64_t> positions;
  cluster::agree(comm, [&] {
    const auto own = cluster::rows_of(inputs_.concepts, comm.size(), comm.rank());
    for (auto c = own.begin; c < own.end; ++c) {
      const auto sentences = inputs_.sentences(c);
      positions.push_back(neutral + sum_positions(std::span(sentences), inputs_.prefix));
      keys += cluster::Sha256()
                  .field(common_hash)
                  .field(inputs_.concept_hash(c))
                  .field(hash_of(sentences))
                  .hex();
    }
  });
  const auto all_keys = cluster::all_gather(comm, std::span<const char>(keys));
  const auto all_positions = cluster::all_gather(comm, std::span<const std::int64_t>(positions));
  std::vector<cluster::Task> tasks;
  for (std::int64_t i = 0; i < inputs_.concepts * std::ssize(layers_); ++i) {
    const auto c = concept_of(i);
    const std::string key(all_keys.values.data() + c * key_length, key_length);
    tasks.push_back(
        {cluster::Sha256().field(key).field(std::to_string(layer_of(i))).hex(),
         static_cast<double>(all_positions.values[c]) *
             static_cast<double>(inputs_.model->config().mlp_width),
         inputs_.name ? "'" + inputs_.name(c) + "', layer " + std::to_string(layer_of(i)) : ""});
  }
  return tasks;
}

// Collective over the group.
Fit Stage::fit(std::int64_t task, const std::string& key, cluster::Communicator& group) {
  const auto c = concept_of(task), layer = layer_of(task);
  Positions positions;
  {
    const auto timer = context_.timers.scope("kernel/activations");
    cluster::agree(group, [&] { positions = walk_.positions(c, layer, group); });
  }
  const auto timer = context_.timers.scope("kernel/semi_nmf");
  const auto checkpoint = context_.run_directory / "journals" / stage_name / (key + ".fit");
  const auto state = resumed_state(stage_name, checkpoint, load_state, group);
  FitHooks hooks;
  hooks.stop = [&] { return context_.stop.requested(); };
  hooks.save = [&](const FitState& now) {
    cluster::agree(group, [&] {
      if (group.rank() == 0) save_state(checkpoint, now);
    });
  };
  hooks.resume = state ? &*state : nullptr;
  auto fit = factorise(positions, options_, inputs_.concept_hash(c) + "/" + std::to_string(layer),
                       group, hooks);
  std::error_code ignored;
  if (group.rank() == 0) std::filesystem::remove(checkpoint, ignored);
  return fit;
}

// Collective.
void log_time(const Block& block, cluster::Communicator& comm) {
  std::vector<double> sums{std::accumulate(block.seconds.begin(), block.seconds.end(), 0.0),
                           static_cast<double>(block.seconds.size())};
  cluster::all_reduce_sum(comm, std::span<double>(sums));
  if (comm.rank() == 0)
    cluster::log_info("activations: " + std::to_string(std::llround(sums[1])) +
                      " factorisations, " + cluster::format_duration(sums[0]) + " of a group");
}

Block Stage::run() {
  auto& comm = context_.world();
  const auto tasks = make_tasks();
  const auto results = cluster::run_tasks(context_, stage_name, tasks,
                                          [&](std::int64_t i, cluster::Communicator& group) {
                                            const auto result = fit(i, tasks[i].key, group);
                                            return group.rank() == 0 ? pack(result) : std::string();
                                          });
  if (!tasks.empty() && results.failures() == results.size())
    throw DataError("no activations could be factorised; the first: " + results.failure(0));
  Block block;
  block.failed = results.failures();
  cluster::agree(comm, [&] {
    const auto own = cluster::rows_of(results.size(), comm.size(), comm.rank());
    for (auto i = own.begin; i < own.end; ++i) {
      const auto failure = results.failure(i);
      append(block, concept_of(i), layer_of(i), failure.empty() ? unpack(results.read(i)) : Fit{},
             failure);
    }
  });
  log_time(block, comm);
  return block;
}

}  // namespace

ActivationFeatures run(const Inputs& inputs, const Options& options, cluster::Context& context) {
  Stage stage(inputs, options, context);
  const auto block = stage.run();
  const auto path = context.run_directory / "activations.h5";
  write(context.world(), path, {stage_name, schema, inputs.run_id, inputs.inputs_hash}, block,
        stage.layers(), inputs.model->config().mlp_width, options.save_g);
  cluster::remove_journals(context, stage_name);
  return ActivationFeatures(path);
}

}  // namespace quench::activations
