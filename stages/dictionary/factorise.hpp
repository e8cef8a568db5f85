#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cluster/communicator.hpp"
#include "cluster/watchdog.hpp"
#include "stages/dictionary/options.hpp"
#include "stages/dictionary/rows.hpp"
#include "stages/dictionary/sparse_columns.hpp"
#include "stages/dictionary/token_gram.hpp"
#include "stages/factorisation/kept.hpp"
#include "stages/types.hpp"

// The sparse matrix factorisation of the method (methods 3.1), its rows sharded over the ranks of a
// group.
namespace quench::dictionary {

// A device that holds the rows of one rank.
struct DevicePlace {
  at::Device device;
  cluster::Communicator& comm;  // over the ranks of the group; its buffers lie on the device
  std::function<void()> wait;   // until its collectives are done; empty where they are at once
  cluster::Watchdog* watchdog = nullptr;  // of wait(), and of a queue too full to go on
};

// The rows of A^T of one rank, and where they are among all.
struct Shard {
  Rows rows;
  std::int64_t first = 0;  // global index of the first; ranks hold ascending, disjoint ranges
  std::int64_t count = 0;  // global number of rows (n)
  // How C = A^T A of all rows is made where one is needed; empty: by token_gram().
  std::function<TokenGram(const Rows&)> token_gram = {};
  const DevicePlace* device = nullptr;  // where iterations are done; null: on this processor
};

// A factorisation between two iterations; what a checkpoint holds. G and F are whole, the same
// whatever the number of ranks, and only rank 0 of the group has them: on others they are empty.
struct FitState {
  std::vector<double> objective;  // ||A - F G^T||^2 by iteration
  double ridge = 0;
  std::int64_t ridge_raises = 0;
  std::int64_t best_iteration = 0;
  // G of the last iteration and of the best one, by column: [K, m] global rows ascending, values.
  std::vector<std::int32_t> rows, best_rows;
  std::vector<float> values, best_values;
  std::vector<float> best_features;  // F^T of the best one, [K, d]
};

// How one factorisation ended, on every rank of the group; but G, of all rows, only rank 0 has.
struct Fit {
  Factors factors;                // tokens are the caller's to fill in
  std::vector<double> objective;  // ||A - F G^T||^2 by iteration
  double ridge = 0;               // lambda of the last system solved
  std::int64_t best_iteration = 0;
  std::string stop_reason;    // "progress", "patience", "max_iterations"
  std::string form;           // "gram", "bounded", "streamed"; on a device "device", or "batched"
                              // (device_factorise.hpp)
  double share_computed = 1;  // of the entries of A^T F~, over all iterations
  struct Seconds {
    double start = 0;          // the first sums, from G_0; C
    double systems = 0;        // F, F~ and the objective
    double dense = 0;          // A^T F~ and the entries that may win
    double winners = 0;        // the exact selection
    double sparse = 0;         // A G or C G, and G^T G
    double communication = 0;  // of the sums
    double total() const { return start + systems + dense + winners + sparse + communication; }
  } seconds;                     // of this rank, since the fit was begun or gone on with
  double predicted_seconds = 0;  // of the same iterations, by the cost model; 0: on a device
};

// What a factorisation is told while it runs. All may be empty.
struct FitHooks {
  std::function<bool()> stop;                 // asked on every rank, each iteration
  std::function<void(const FitState&)> save;  // called on every rank of the group together
  // Asked once, on rank 0 of the group: what to go on from; nothing: begin with G_0.
  std::function<std::optional<FitState>()> resume;
  std::function<void(std::int64_t iteration, double objective)> progress;
};

// Initial G: rows [first, first + count) of G_0 as [count, K] float32.
using InitialRows = std::function<at::Tensor(std::int64_t first, std::int64_t count)>;

// Collective over the group. float32 products, float64 sums and systems; uses ATen's intra-op
// threads. Throws DataError: systems that stay singular, overflow; Stopped, after save(), when
// stop() is true on any rank.
Fit factorise(const Shard& shard, const InitialRows& initial, const Options& options,
              cluster::Communicator& group, const FitHooks& hooks = {});

// Keyed normal numbers by global row: the same however the rows are shared out.
InitialRows normal_initial(const Options& options, const std::string& purpose);
// Collective. The leading right singular vectors of A; beyond its rank, normal numbers.
InitialRows svd_initial(const Shard& shard, const Options& options, const std::string& purpose,
                        cluster::Communicator& group);

}  // namespace quench::dictionary
