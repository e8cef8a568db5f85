#pragma once

// Inside stages/evaluation only.
#include <functional>
#include <vector>

#include "stages/evaluation/results.hpp"

namespace quench::evaluation {

// What joint edits of more and more concepts do, on the questions that decide efficacy and
// specificity.
struct Curve {
  std::vector<std::int64_t> order;   // edited concepts, as they are erased
  std::vector<std::int64_t> erased;  // 1, 2, 4, ..., all of them
  std::vector<Scores> means;         // of each: over the concepts erased so far
  std::vector<Scores> alone;         // the same concepts, each erased alone; empty: not measured
  std::int64_t failures = 0;
};

// The order of the edited concepts: random, keyed by what they are, not by where they stand.
std::vector<std::int64_t> curve_order(const Inputs& inputs);
std::vector<std::int64_t> curve_points(std::int64_t concepts);

// What the joint model of all said to a piece's test probes, and what a concept's model of its own
// said to the concept's and then to the shared ones; nothing where it failed.
using Said = std::optional<std::vector<Measurement>>;
struct SaidBefore {
  std::function<Said(std::int64_t piece)> joint;
  std::function<Said(std::int64_t concept_index)> alone;  // may be null
};

// Collective over the world. The last point is taken from what the joint model said.
Curve measure_curve(const Inputs& inputs, const Options& options, cluster::Context& context,
                    const std::vector<Piece>& pieces, Banks& banks, const SaidBefore& before);

}  // namespace quench::evaluation
