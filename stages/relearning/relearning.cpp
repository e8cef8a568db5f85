#include "stages/relearning/relearning.hpp"

#include <nlohmann/json.hpp>

#include "cluster/collectives.hpp"
#include "cluster/hash.hpp"

namespace quench::relearning {

using nlohmann::json;

namespace {

// One task of the queue.
struct Attack {
  std::int64_t concept_index = 0;
  std::int64_t seed = 0;
  bool erased = true;  // false: the control
};

std::vector<Attack> list_attacks(const Inputs& inputs, const Options& options) {
  std::vector<Attack> attacks;
  for (const auto c : inputs.attacked) {
    for (std::int64_t s = 0; s < options.seeds; ++s) {
      attacks.push_back({c, options.first_seed + s, true});
      if (options.control) attacks.push_back({c, options.first_seed + s, false});
    }
  }
  return attacks;
}

// The attack in a message.
std::string label_of(const Inputs& inputs, const Attack& attack) {
  return "'" + inputs.name(attack.concept_index) + "', seed " + std::to_string(attack.seed) +
         (attack.erased ? "" : ", control");
}

std::vector<cluster::Task> tasks_of(const Inputs& inputs, const std::vector<Attack>& attacks) {
  std::vector<cluster::Task> tasks;
  for (const auto& attack : attacks) {
    cluster::Sha256 key;
    key.field(std::to_string(schema))
        .field(inputs.inputs_hash)
        .field(inputs.model_state_hash)
        .field(inputs.concept_hash(attack.concept_index));
    key.field(std::to_string(attack.seed)).field(attack.erased ? "erased" : "control");
    tasks.push_back({key.hex(), 1, label_of(inputs, attack)});
  }
  return tasks;
}

// A curve as it is journalled: steps, losses, and the figures with their intervals at each point.
std::string pack(const Inputs& inputs, const Attack& attack, const std::vector<Point>& curve) {
  const auto probes = inputs.probes(attack.concept_index);
  json steps = json::array(), losses = json::array(), figures = json::array(),
       values = json::array();
  for (const auto& point : curve) {
    steps.push_back(point.step);
    losses.push_back(point.loss);
    for (const auto& e : inputs.figures(attack.concept_index, probes, point.measurements)) {
      for (const double x : {e.value, e.interval.low, e.interval.high, static_cast<double>(e.n)})
        figures.push_back(x);
    }
    for (const auto& m : point.measurements) {
      for (const float x : m.values) values.push_back(x);
    }
  }
  const auto bytes = json::to_cbor(json{steps, losses, figures, values});
  return {bytes.begin(), bytes.end()};
}

std::vector<std::string> figure_columns() {
  std::vector<std::string> columns;
  for (const std::string name : {"own_accuracy", "own_margin", "similar_accuracy", "similar_margin",
                                 "own_left", "similar_left"}) {
    columns.insert(columns.end(), {name, name + "_low", name + "_high", name + "_n"});
  }
  return columns;
}

// This rank's rows of relearning.h5; a failed attack has an empty curve.
struct LocalRows {
  std::vector<std::int64_t> concepts, seeds;
  std::vector<std::uint8_t> erased;
  std::vector<std::vector<std::int64_t>> steps;
  std::vector<std::vector<double>> losses, figures;
  std::vector<std::vector<float>> values;

  void add(const Attack& attack, const std::optional<std::string>& payload) {
    concepts.push_back(attack.concept_index);
    seeds.push_back(attack.seed);
    erased.push_back(attack.erased ? 1 : 0);
    const json curve = payload ? json::from_cbor(*payload)
                               : json{json::array(), json::array(), json::array(), json::array()};
    steps.push_back(curve[0]);
    losses.push_back(curve[1]);
    figures.push_back(curve[2]);
    values.push_back(curve[3]);
  }
};

void write(const Inputs& inputs, cluster::Context& context, const std::vector<Attack>& attacks,
           const cluster::TaskResults& results) {
  auto& world = context.world();
  LocalRows rows;
  cluster::agree(world, [&] {
    const auto mine = cluster::rows_of(std::ssize(attacks), world.size(), world.rank());
    for (auto i = mine.begin; i < mine.end; ++i) {
      const bool good = results.failure(i).empty();
      rows.add(attacks[i], good ? std::optional(results.read(i)) : std::nullopt);
    }
  });
  cluster::StoreWriter store(world, context.run_directory / "relearning.h5",
                             {"relearning", schema, inputs.run_id, inputs.inputs_hash});
  const cluster::Axes by_attack{{"attack"}, ""};
  store.write_rows<std::int64_t>("attacks/concept", rows.concepts, {}, by_attack);
  store.write_rows<std::int64_t>("attacks/seed", rows.seeds, {}, by_attack);
  store.write_rows<std::uint8_t>("attacks/erased", rows.erased, {}, by_attack);
  store.write_ragged<std::int64_t>("curves/steps", rows.steps,
                                   {{"attack", "point"}, "optimizer steps"});
  store.write_ragged<double>("curves/loss", rows.losses, {{"attack", "point"}, "nats a token"});
  store.write_ragged<double>("curves/figures", rows.figures, {{"attack", "point x figure"}, ""});
  store.write_ragged<float>("curves/values", rows.values,
                            {{"attack", "point x probe x value"}, "nats or counts"});
  store.write_strings("figures", context.is_root() ? figure_columns() : std::vector<std::string>{},
                      {{"figure"}, ""});
  store.attribute("/", "failures", results.failures());
  store.finish();
}

}  // namespace

void describe(Options& options, OptionTable& table) {
  table.add("relearning.enabled", options.enabled, "run the attacks");
  table.add("relearning.concepts", options.concepts,
            "names (or aliases) of the concepts to attack; empty: all that were edited");
  table.add("relearning.max_concepts", options.max_concepts, "the first so many of them; 0: all",
            {0, 1e9});
  table.add("relearning.seeds", options.seeds,
            "attacks a concept, each with its own order of paragraphs", {1, 1000});
  table.add("relearning.first_seed", options.first_seed, "seed of the first attack", {0, 1e9});
  table.add("relearning.paragraphs", options.paragraphs, "paragraphs trained on, at most",
            {1, 1e6});
  table.add("relearning.max_length", options.max_length,
            "tokens of a paragraph; longer ones are cut", {2, 1 << 20});
  table.add("relearning.epochs", options.epochs,
            "an attack's length: how often it sees each of its paragraphs; 0: relearning.steps "
            "says it, the same for all",
            {0, 1e6});
  table.add("relearning.steps", options.steps,
            "optimizer steps of an attack, where relearning.epochs is 0", {1, 1e6});
  table.add("relearning.batch", options.batch, "paragraphs a step", {1, 4096});
  table.add("relearning.learning_rate", options.learning_rate, "of AdamW, constant", {1e-9, 1});
  table.add("relearning.weight_decay", options.weight_decay, "of AdamW, decoupled", {0, 1});
  table.add("relearning.points", options.points,
            "of a curve, evenly spaced over the steps; the start is always one more", {1, 1000});
  table.add("relearning.control", options.control, "attack the untouched model too");
  table.add("relearning.pad_in_loss", options.pad_in_loss,
            "pad to max_length and predict the first token from a pad, as the paper's code does");
}

std::int64_t steps_of(const Options& options, std::int64_t paragraphs) {
  if (options.epochs == 0) return options.steps;
  return (options.epochs * paragraphs + options.batch - 1) / options.batch;
}

void run(const Inputs& inputs, const Options& options, cluster::Context& context) {
  const auto attacks = list_attacks(inputs, options);
  const auto results = cluster::run_tasks(context, "relearning", tasks_of(inputs, attacks),
                                          [&](std::int64_t i, cluster::Communicator& group) {
                                            const auto& a = attacks[i];
                                            const auto curve =
                                                attack(group, inputs, a.concept_index, a.erased,
                                                       a.seed, options, context.stop);
                                            return pack(inputs, a, curve);
                                          });
  write(inputs, context, attacks, results);
  cluster::remove_journals(context, "relearning");
}

}  // namespace quench::relearning
