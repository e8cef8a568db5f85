#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cluster/task_runner.hpp"
#include "pipeline/attack_scorer.hpp"
#include "pipeline/inputs.hpp"
#include "pipeline/scoring.hpp"
#include "pipeline/stage_hashes.hpp"

namespace quench::pipeline {

// One run on its way: what is open, and a method a stage that turns earlier outputs into the
// stage's inputs. What it is made from must outlive it.
class Road {
 public:
  Road(const Configuration& configuration, cluster::Context& context, const RunInputs& inputs,
       const RunDirectory& directory);

  // All stages in order, and the export. Collective over the world. Throws DataError, ClusterError,
  // Stopped.
  void travel();
  std::int64_t failures() const { return failures_; }          // failed tasks of all stages
  const std::string& waits_for() const { return waits_for_; }  // what is to be done; empty: nothing

 private:
  // Runs a stage unless its file is there already, complete and of the same hash; times it and
  // counts its failed tasks.
  template <typename Run>
  void stage(const std::string& name, const std::string& file, std::int64_t schema,
             const std::string& hash, const Run& run);
  std::filesystem::path path(const std::string& file) const {
    return context_.run_directory / file;
  }

  void make_corpus();
  void make_dictionary();
  void factorise_activations();
  selection::Inputs selection_inputs() const;
  // The judge's word on every feature, where it is asked. Throws Error of code waiting on all ranks
  // while its answers are missing.
  void ask_judge();
  void make_selection();
  void load_model();
  void measure_baseline();
  void erase();
  void evaluate();
  void relearn();
  void export_erased();
  void judge();

  evaluation::ProbeSource probe_source() const;
  erasure::Refit refit(std::int64_t concept_index) const;
  std::vector<std::int64_t> attacked(const erasure::Edits& edits) const;
  model::Transformer joint_model(const erasure::Edits& edits) const;
  std::function<std::string(std::int64_t)> concept_hash() const {
    return [this](std::int64_t c) { return corpus_->hash(c); };
  }

  const Configuration& configuration_;
  cluster::Context& context_;
  const RunInputs& inputs_;
  const RunDirectory& directory_;
  StageHashes hashes_;
  std::int64_t failures_ = 0;
  std::string waits_for_;

  std::optional<corpus::Corpus> corpus_;
  std::optional<dictionary::Dictionaries> dictionaries_;
  std::vector<std::vector<selection::Judgement>> judged_;  // of each concept's features
  std::optional<selection::Selection> selection_;
  model::SharedWeights weights_;
  std::optional<LoadedModel> model_;
  std::optional<evaluation::Meter> meter_;
  std::optional<evaluation::Measurements> baseline_;
  std::vector<evaluation::Knowledge> knowledge_;
  std::optional<Scorer> scorer_;
  std::optional<erasure::Edits> edits_;
};

}  // namespace quench::pipeline
