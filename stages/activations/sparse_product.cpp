// The loop over a factor's entries, which the compiler shall vectorise.
#include <ATen/Parallel.h>

#include <algorithm>

#include "cluster/clones.hpp"
#include "stages/activations/sparse_features.hpp"

namespace quench::activations {

namespace {

// Positions at a time: sums that stay in the first cache, and whole pages of A.
constexpr std::int64_t block = 1024;

// sums[0, count) += factor * row[0, count).
QUENCH_CLONES void add_scaled(const float* __restrict row, float factor, std::int64_t count,
                              float* __restrict sums) {
  for (std::int64_t i = 0; i < count; ++i) sums[i] += factor * row[i];
}

}  // namespace

at::Tensor product(const NeuronFeatures& features, const at::Tensor& activations) {
  const auto positions = activations.size(1);
  const auto out = at::zeros({features.rank(), positions}, at::kFloat);
  const float* from = activations.const_data_ptr<float>();
  float* to = out.mutable_data_ptr<float>();
  at::parallel_for(
      0, (positions + block - 1) / block, 1, [&](std::int64_t begin, std::int64_t end) {
        for (auto first = begin * block; first < std::min(end * block, positions); first += block) {
          const auto count = std::min(block, positions - first);
          for (std::int64_t k = 0; k < features.rank(); ++k)
            for (auto e = features.offsets[k]; e < features.offsets[k + 1]; ++e)
              add_scaled(from + features.neurons[e] * positions + first, features.values[e], count,
                         to + k * positions + first);
        }
      });
  return out;
}

}  // namespace quench::activations
