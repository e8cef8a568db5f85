#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "stages/activations/activations.hpp"
#include "stages/corpus/corpus.hpp"
#include "stages/dictionary/dictionary.hpp"
#include "stages/erasure/erasure.hpp"
#include "stages/evaluation/evaluation.hpp"
#include "stages/options.hpp"
#include "stages/relearning/relearning.hpp"
#include "stages/report/report.hpp"
#include "stages/selection/selection.hpp"

namespace quench::pipeline {

struct RunOptions {
  std::string model;      // model directory, as Hugging Face writes it
  std::string catalog;    // catalog directory
  std::string directory;  // run directory: every intermediate and the report
  std::string export_to =
      "auto";                   // where the erased model goes; auto: DIRECTORY/model; none: nowhere
  std::string baseline_cache;   // directory of base results that runs share; empty: none
  std::int64_t group_size = 1;  // ranks that share one task
  std::int64_t threads = 0;     // a rank; 0: its share of the node's cores
  std::string device = "auto";  // what ranks compute on: auto, cpu, cuda
  double time_limit = 0;        // minutes after which the run stops with a checkpoint; 0: none
  double watchdog = 1800;       // seconds that a rank waits in one collective; 0: for ever
};

// Who answers questions about features (selection.method = judge) and answers (evaluation.judge).
struct JudgeOptions {
  std::string model;           // directory of a local instruct model; empty: answers come in a file
  std::string name = "judge";  // model that the requests name
  std::int64_t batch = 16;     // prompts side by side
};

// Everything that a run can be told, with its one table of keys.
class Configuration {
 public:
  Configuration();
  Configuration(const Configuration&) = delete;
  Configuration& operator=(const Configuration&) = delete;

  // Reads an INI file ([section] key = value). Throws ConfigError with all problems of the file:
  // unreadable, unknown key, wrong type.
  void read_file(const std::filesystem::path& file);
  // One "key=value". Throws ConfigError.
  void set(const std::string& assignment);
  // Throws ConfigError with everything that is out of range or missing; reads no file.
  void validate() const;

  const OptionTable& table() const { return table_; }
  // Whether a model of this machine answers the judge's questions.
  bool has_local_judge() const {
    return !judge.model.empty() && (selection.method == "judge" || evaluation.judge != "none");
  }

  RunOptions run;
  corpus::Options corpus;
  dictionary::Options dictionary;
  activations::Options activations;
  selection::Options selection;
  JudgeOptions judge;
  erasure::Options erasure;
  evaluation::Options evaluation;
  relearning::Options relearning;
  report::Options report;

 private:
  OptionTable table_;
};

}  // namespace quench::pipeline
