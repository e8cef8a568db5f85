#pragma once

#include <string>
#include <vector>

#include "pipeline/configuration.hpp"
#include "pipeline/run_directory.hpp"

namespace quench::pipeline {

// What decides each stage's file, hashed: its options, its inputs, and the stages that it reads
// (design: identity is content).
struct StageHashes {
  std::string corpus, dictionary, activations, selection, baseline, erasure, evaluation, relearning;
  std::string model;  // all files of the model directory
};

StageHashes stage_hashes(const Configuration& configuration, const RunIdentity& identity);

}  // namespace quench::pipeline
