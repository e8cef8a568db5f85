#pragma once

#include <string>

#include "cluster/error.hpp"
#include "cluster/session.hpp"
#include "pipeline/configuration.hpp"

namespace quench::pipeline {

struct RunRequest {
  std::string command;          // as typed, for the manifest
  bool accept_changes = false;  // recompute what a changed configuration decides
  bool quiet = false;
};

// The whole road: corpus, dictionary, selection, baseline, erasure, evaluation, relearning, export,
// report. Finished stages are kept. Collective over the world. Returns done or
// some_failed; throws ConfigError, DataError, Stopped.
ExitCode run(cluster::Session& session, const Configuration& configuration,
             const RunRequest& request);

}  // namespace quench::pipeline
