#pragma once

#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "cluster/store.hpp"
#include "cluster/task_runner.hpp"
#include "model/transformer.hpp"
#include "stages/options.hpp"
#include "stages/schemas.hpp"
#include "stages/types.hpp"

// Stage relearning: fine-tuning on a concept's paragraphs, on the joint erased model and on the
// untouched one as control (methods 8).
namespace quench::relearning {

inline constexpr std::int64_t schema = schemas::relearning;

struct Options {
  bool enabled = true;
  std::vector<std::string> concepts;  // names; empty: all that were edited
  std::int64_t max_concepts = 0;      // the first so many of them; 0: all
  std::int64_t seeds = 3;             // attacks a concept
  std::int64_t first_seed = 0;
  std::int64_t paragraphs = 100;  // at most, in the catalog's order
  std::int64_t max_length = 256;  // tokens of a paragraph; longer ones are cut
  std::int64_t epochs = 0;  // times that an attack sees each of its paragraphs; 0: as steps says
  std::int64_t steps =
      200;  // optimizer steps; paragraphs are shuffled anew each time they are used up
  std::int64_t batch = 1;  // paragraphs a step
  double learning_rate = 1e-5;
  double weight_decay = 0.01;
  std::int64_t points =
      5;  // of the curve, evenly spaced, the last one at the end; the start is always measured
  bool control = true;  // attack the untouched model too
  bool pad_in_loss =
      false;  // true: pads to max_length as the paper does (its first token is then a target too)
};
void describe(Options& options, OptionTable& table);  // keys relearning.*

// Optimizer steps of an attack that trains on so many paragraphs: of whole epochs (their last batch
// may reach into the paragraphs of one more), or as Options::steps says.
std::int64_t steps_of(const Options& options, std::int64_t paragraphs);

// A point of a relearning curve.
struct Point {
  std::int64_t step = 0;
  double loss = 0;  // mean training loss since the point before; NaN at step 0
  std::vector<Measurement> measurements;  // of the concept's probes that are measured
};

// What a model said to a concept's probes, in their order.
using Said = std::vector<Measurement>;

// What the models of several attacks on one concept said, each attack of its own seed, at the same
// point of their curves.
struct SeedsSaid {
  std::int64_t concept_index = 0;
  std::vector<std::int64_t> seeds;
  std::vector<Said> by_seed;
};

// The figures of an attacked model, in the order of their columns.
const std::vector<std::string>& figure_names();

struct Inputs {
  std::int64_t concepts = 0;           // of the catalog
  std::vector<std::int64_t> attacked;  // indices, chosen by the pipeline from Options and the edits
  std::function<std::string(std::int64_t)> name, concept_hash;
  std::function<std::vector<std::vector<std::int32_t>>(std::int64_t)> paragraphs;  // token ids
  std::function<std::vector<Probe>(std::int64_t)>
      probes;  // of the test split, own and similar, in the form that is measured
  // Puts probes to a model; local (attacks are measured where they run). Passed in by the pipeline.
  std::function<std::vector<Measurement>(const model::Transformer&, std::span<const Probe>)>
      measure;
  // The figures of figure_names(), means over seeds, with their intervals, NaN where the form has
  // no such figure. Local; passed in by the pipeline.
  std::function<std::vector<Estimate>(const SeedsSaid&)> figures;
  // Their means over the attacked concepts. `mine` are those of this rank that have any seed.
  // Collective over the world; passed in by the pipeline.
  std::function<std::vector<Estimate>(cluster::Communicator& world,
                                      std::span<const SeedsSaid> mine)>
      mean_figures;
  const model::ModelConfig* config = nullptr;
  model::Weights base;                // shared, read-only
  model::RowOverlay joint;            // the joint edit
  cluster::Timers* timers = nullptr;  // of this rank, for "kernel/train_step"
  std::string model_state_hash;       // of base and joint edit
  std::string inputs_hash, run_id;
};

// Trains a private float32 copy of the model on paragraphs with AdamW (betas 0.9, 0.999, eps 1e-8);
// keyed shuffling. Rows of the input embedding that no paragraph holds only decay, so they are not
// copied. Gradients of a batch are summed over the group. Collective over the group.
std::vector<Point> attack(cluster::Communicator& group, const Inputs& inputs,
                          std::int64_t concept_index, bool erased, std::int64_t seed,
                          const Options& options, const cluster::StopFlag& stop);

// What an attacked model said at each point, out of what relearning.h5 holds of the attack
// (curves/counts, curves/values). Throws DataError where they do not fit.
std::vector<Said> said_of(std::span<const std::int64_t> counts, std::span<const float> values,
                          std::int64_t points);

// Collective over the world. Queue of (concept, seed, erased or control); writes
// run_directory/relearning.h5.
void run(const Inputs& inputs, const Options& options, cluster::Context& context);

}  // namespace quench::relearning
