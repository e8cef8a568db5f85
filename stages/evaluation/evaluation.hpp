#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "cluster/store.hpp"
#include "cluster/task_runner.hpp"
#include "stages/evaluation/measure.hpp"
#include "stages/evaluation/metrics.hpp"
#include "stages/evaluation/options.hpp"
#include "stages/schemas.hpp"
#include "stages/types.hpp"

// Stages baseline (the untouched model, once) and evaluation (each concept's edit alone, and all
// jointly).
namespace quench::evaluation {

inline constexpr std::int64_t schema = schemas::evaluation;

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
  std::filesystem::path cache;  // base results that runs share; empty: none
};
// Collective over the world. Writes run_directory/baseline.h5: a measurement a probe, base margin a
// concept with interval and `known`.
Measurements run_baseline(const BaselineInputs& inputs, cluster::Context& context);

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
  // Models with row edits in: of concept c alone at its chosen strength, of all jointly, and of
  // some jointly as they are in all.
  std::function<model::Transformer(std::int64_t)> alone;
  const model::Transformer* joint = nullptr;
  std::function<model::Transformer(std::span<const std::int64_t>)> some;
  std::vector<Knowledge> knowledge;
  std::vector<bool> edited;         // concepts that have an edit at all
  std::vector<std::string> status;  // of the erasure, as in edits.h5
  std::string edits_hash, inputs_hash, run_id;
};

// Collective over the world. Test split. Writes run_directory/evaluation.h5
// (docs/file-formats.md): figures of each concept's edit alone and in the joint model, their means
// over concepts that are edited, the curve over joint edits of 1, 2, 4, ... concepts, and what the
// models said, by probe id.
void run(const Inputs& inputs, const Options& options, cluster::Context& context);

// The columns of a Scores row as stored in HDF5, in order: value, low, high and n of each figure,
// then reused and measured.
std::vector<std::string> score_columns();
std::vector<double> to_row(const Scores& scores);
Scores from_row(std::span<const double> row);

}  // namespace quench::evaluation
