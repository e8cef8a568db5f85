#pragma once

#include <vector>

#include "cluster/task_runner.hpp"
#include "pipeline/judge.hpp"
#include "stages/selection/judge.hpp"
#include "stages/selection/selection.hpp"

namespace quench::pipeline {

// Asks the judge which features are a concept's own, in two rounds: `describe`, and `membership`,
// whose questions need the descriptions. Judgements of every concept's features; the same on all
// ranks. Collective over the world. Throws as Judge::ask.
std::vector<std::vector<selection::Judgement>> judge_features(Judge& judge,
                                                              const selection::Inputs& inputs,
                                                              const selection::Options& options,
                                                              cluster::Context& context);

}  // namespace quench::pipeline
