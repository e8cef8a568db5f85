#pragma once

#include <functional>

#include "cluster/error.hpp"
#include "cluster/session.hpp"

namespace quench::pipeline {

// Runs `body` on every rank of the session and turns what it throws into the job's exit code: an
// error that all ranks agreed on is printed once, by rank 0; one that only this rank knows of is
// printed here and ends the job on every rank.
ExitCode collectively(cluster::Session& session, const std::function<ExitCode()>& body);

}  // namespace quench::pipeline
