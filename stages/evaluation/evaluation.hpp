#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "cluster/store.hpp"
#include "cluster/task_runner.hpp"
#include "stages/evaluation/measure.hpp"
#include "stages/evaluation/metrics.hpp"
#include "stages/options.hpp"
#include "stages/types.hpp"

// Stages baseline (the untouched model, once) and evaluation (each concept's edit alone, and all
// jointly).
namespace quench::evaluation {

// Version of the layout of this stage's file. The file's root carries the number attribute
// "failures": tasks that failed.
inline constexpr std::int64_t schema = 1;

struct Options {
  std::string objective = "margin";  // margin | accuracy
  std::int64_t resamples = 1000;     // of the bootstrap
  std::int64_t batch_tokens = 2048;  // tokens of a forward batch, padding included
  std::int64_t open_tokens = 24;
  std::int64_t instruction_tokens = 64;
  bool alone = true;  // evaluate each concept's edit alone too, not only the joint model
};
void describe(Options& options, OptionTable& table);  // keys evaluation.*
Objective objective_of(const Options& options);
MeasureOptions measure_options(const Options& options);

// The corpus as these stages see it.
struct ProbeSource {
  std::int64_t concepts = 0;
  std::function<std::vector<Probe>(std::int64_t)> of_concept;
  std::function<std::vector<Probe>()> shared;
  std::vector<std::int64_t>
      offsets;  // probe ids of concept c: [offsets[c], offsets[c + 1]); shared: the last piece
  std::function<std::string(std::int64_t)> name, hash;
};

// Measurements by probe id, as stored: baseline.h5, and the joint model's in evaluation.h5.
class Measurements {
 public:
  Measurements(const std::filesystem::path& file, const std::string& stage,
               const std::string& group);
  std::vector<Measurement> read(cluster::Range ids) const;

 private:
  cluster::StoreReader store_;
  std::string group_;
};

struct BaselineInputs {
  ProbeSource probes;
  const Meter* meter = nullptr;
  const model::Transformer* base = nullptr;
  std::string model_hash, inputs_hash, run_id;
};
// Collective over the world. Writes run_directory/baseline.h5: a measurement a probe, base margin a
// concept with interval and `known`.
Measurements run_baseline(const BaselineInputs& inputs, const Options& options,
                          cluster::Context& context);

// What is known about the base model's grasp of a concept, from baseline.h5.
struct Knowledge {
  Estimate margin;
  bool known = false;
};
std::vector<Knowledge> read_knowledge(const std::filesystem::path& baseline_file);

struct Inputs {
  ProbeSource probes;
  const Meter* meter = nullptr;
  const model::Transformer* base = nullptr;
  const Measurements* baseline = nullptr;
  // Models with row edits in: of concept c alone at its chosen strength, and of all jointly.
  std::function<model::Transformer(std::int64_t)> alone;
  const model::Transformer* joint = nullptr;
  std::vector<Knowledge> knowledge;
  std::vector<bool> edited;  // concepts that have an edit at all
  std::vector<std::string>
      status;  // of the erasure: ok, no_features, unknown_to_model, gated, failed
  std::string edits_hash, inputs_hash, run_id;
};

// Collective over the world. Test split. Writes run_directory/evaluation.h5: tables alone/scores
// and joint/scores [concept, figure] (columns: score_columns()), status a concept (ok, no_features,
// unknown_to_model, failed), alone/mean and joint/mean over concepts of status ok with intervals
// over concepts, and the joint model's measurements by probe id.
void run(const Inputs& inputs, const Options& options, cluster::Context& context);

// The columns of a Scores row as stored in HDF5 and CSV, in order: value, low and high of each
// figure.
std::vector<std::string> score_columns();
std::vector<double> to_row(const Scores& scores);
Scores from_row(std::span<const double> row);

}  // namespace quench::evaluation
