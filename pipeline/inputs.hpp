#pragma once

#include <optional>
#include <vector>

#include "cluster/session.hpp"
#include "pipeline/configuration.hpp"
#include "pipeline/model_directory.hpp"
#include "pipeline/run_directory.hpp"
#include "stages/corpus/catalog.hpp"

namespace quench::pipeline {

// Everything that a run reads, opened and checked; no weights yet.
struct RunInputs {
  ModelDirectory model;
  std::vector<corpus::ConceptEntry>
      concepts;  // as chosen by corpus.concepts and corpus.max_concepts
  corpus::SharedText shared;
  std::vector<selection::Decision>
      manual;                           // of each concept; empty unless selection.method = manual
  std::optional<ModelDirectory> judge;  // judge.model, where it is asked
  RunIdentity identity;
};

// Collective. Throws on all ranks, before any work, one error with every problem of model, catalog
// and configuration. `identity` is left empty.
RunInputs read_inputs(cluster::Communicator& world, const Configuration& configuration);

// Collective. The same with the identity; throws ConfigError with both numbers where the run needs
// more memory on a node than is there.
RunInputs open_inputs(cluster::Session& session, const Configuration& configuration);

// What a command needs that only loads a model and scores or answers with it: throws ConfigError
// with both numbers when a node has less. Collective.
void check_model_memory(cluster::Session& session, const model::ModelConfig& config);

}  // namespace quench::pipeline
