#include "stages/relearning/relearning.hpp"

#include "cluster/hash.hpp"
#include "stages/relearning/results.hpp"

namespace quench::relearning {

namespace {

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

}  // namespace

const std::vector<std::string>& figure_names() {
  static const std::vector<std::string> names{"own_accuracy",   "own_margin", "similar_accuracy",
                                              "similar_margin", "own_left",   "similar_left"};
  return names;
}

void describe(Options& options, OptionTable& table) {
  table.add("relearning.enabled", options.enabled, "run the attacks");
  table.add("relearning.concepts", options.concepts,
            "names (or aliases) of the concepts to attack; empty: all that were edited");
  table.add("relearning.max_concepts", options.max_concepts, "the first so many of them; 0: all",
            {0, 1e9});
  table.add(
      "relearning.seeds", options.seeds,
      "attacks a concept, each with its own order of paragraphs; one says nothing of the spread "
      "between orders",
      {1, 1000});
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
  write(inputs, options, context, attacks, results);
  cluster::remove_journals(context, "relearning");
}

}  // namespace quench::relearning
