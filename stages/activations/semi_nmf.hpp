#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "cluster/communicator.hpp"
#include "stages/activations/options.hpp"
#include "stages/factorisation/kept.hpp"
#include "stages/types.hpp"

// The semi-NMF of MLP activations (methods 3.2), its positions sharded over the ranks of a group.
namespace quench::activations {

// The columns of A of one rank, and where they are among all.
struct Positions {
  at::Tensor activations;       // [width, own positions] float32
  std::int64_t first = 0;       // global index of the first; ranks hold ascending, disjoint ranges
  std::int64_t count = 0;       // global number of positions (T)
  std::int64_t of_concept = 0;  // the first so many are the concept's, the others neutral

  std::int64_t own() const { return activations.size(1); }
};

// A factorisation between two iterations; what a checkpoint holds.
struct FitState {
  std::vector<double> objective;  // ||A - F G^T||^2 by iteration
  double ridge = 0;
  std::int64_t ridge_raises = 0;
  std::vector<float> g, best_g;  // of all ranks, [T, K]
  NeuronFeatures best_features;
};

// How one factorisation ended.
struct Fit {
  NeuronFeatures features;
  std::int64_t positions = 0, concept_positions = 0;
  std::vector<double> objective;  // ||A - F G^T||^2 by iteration
  double ridge = 0;               // lambda of the last system solved
  std::int64_t best_iteration = 0;
  std::string stop_reason;  // "progress", "patience", "max_iterations"
  double seconds = 0;       // of this rank
  std::vector<float> g;     // [T, K], with Options::save_g; else empty
};

// What a factorisation is told while it runs. All may be empty.
struct FitHooks {
  std::function<bool()> stop;                 // asked on every rank, each iteration
  std::function<void(const FitState&)> save;  // called on every rank of the group together
  const FitState* resume = nullptr;           // go on from here
};

// Collective over the group. float32 products, float64 sums and systems; uses ATen's intra-op
// threads. `purpose` keys the random numbers. Throws DataError: no positions, systems that stay
// singular, activations that are not finite; Stopped, after save(), when stop() is true on any
// rank.
Fit factorise(const Positions& positions, const Options& options, const std::string& purpose,
              cluster::Communicator& group, const FitHooks& hooks = {});

// Rows [first, first + count) of G_0, transposed: [K, count] float32, uniform in [1e-6, 1), keyed
// by global row: the same however positions are shared out.
at::Tensor initial_g(const Options& options, const std::string& purpose, std::int64_t first,
                     std::int64_t count);

}  // namespace quench::activations
