#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "stages/dictionary/device_factorise.hpp"
#include "stages/dictionary/device_stop_rule.hpp"

namespace quench::dictionary {

// G by column: [K, m] rows, ascending a column, and values.
using Entries = std::pair<std::vector<std::int32_t>, std::vector<float>>;

// The iterations of factorise_batch(). First dimension: the jobs of the batch. Rows beyond a job's
// own are zero, and so are their coefficients. Nothing in iterate() waits for the device.
class Batch {
 public:
  // rules: one a job, with the iterations that it goes on from.
  Batch(std::span<const DeviceJob> jobs, std::span<const StopRule> rules, const Options& options,
        at::Device device);

  // `count` more iterations; returns the objectives on the host, [count, B]: NaN from the first
  // system on that is not positive definite.
  at::Tensor run(std::int64_t count);
  // Factors of the best iteration up to the one at which the stop rule ended job `place`.
  Factors best(std::int64_t place) const;
  // G of its last iteration.
  Entries last(std::int64_t place) const { return entries(place, coefficients_); }
  std::int64_t best_iteration(std::int64_t place) const {
    return rule_.best_iteration()[place].item<std::int64_t>();
  }
  // Goes on with these places only, in this order.
  void narrow(const std::vector<std::int64_t>& places);

 private:
  void load(std::span<const DeviceJob> jobs);
  void load(const FitState& state, std::int64_t place);
  Entries entries(std::int64_t place, const at::Tensor& coefficients) const;
  void take(at::Tensor coefficients);
  at::Tensor inverse(const at::Tensor& matrix);
  at::Tensor solver();
  at::Tensor objective() const;
  at::Tensor iterate();  // the objectives, [B]
  void note(const at::Tensor& objective);

  const Options& options_;
  DeviceStopRule rule_;
  std::int64_t most_kept_ = 0;
  std::vector<std::int64_t> counts_;  // n of each job

  at::Tensor rows_;         // A^T, stored units, [B, n, d]
  at::Tensor exact_rows_;   // the same in float64
  at::Tensor padding_;      // [B, n]
  at::Tensor kept_;         // [B]
  at::Tensor scale_;        // [B, 1, 1] float64
  at::Tensor square_norm_;  // [B] float64

  at::Tensor coefficients_;    // G^T, [B, K, n]
  at::Tensor product_, gram_;  // (A G)^T and G^T G, float64
  at::Tensor features_;        // F^T, [B, K, d] float64
  at::Tensor features_gram_;   // F^T F, or F F^T where that is the smaller one
  at::Tensor definite_;        // [B]: all systems were, so far
  at::Tensor active_;          // [B]: the stop rule has not ended it
  at::Tensor best_features_, best_coefficients_;
};

}  // namespace quench::dictionary
