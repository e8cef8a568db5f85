#pragma once

// Inside stages/evaluation only: figures with a judge's verdicts in them.
#include <span>
#include <vector>

#include "stages/evaluation/judge.hpp"

namespace quench::evaluation {

// Figures of the joint model: this rank's concepts, and the mean over those that are edited.
struct JudgedScores {
  std::vector<Scores> local;
  Scores mean;
};

// As the evaluation's figures, but an open answer is right where the judge says so, and coherence
// is of the judge's ratings (methods 7.4). Answers without a verdict on both models count for
// nothing. The verdicts are the same on all ranks. Collective over the world.
JudgedScores judged_scores(const JudgeInputs& inputs, const Options& options,
                           std::span<const Verdict> verdicts, const Measurements& joint,
                           cluster::Context& context);

}  // namespace quench::evaluation
