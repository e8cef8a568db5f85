#include "stages/activations/sparse_features.hpp"

#include <cmath>

namespace quench::activations {

NeuronFeatures keep_largest(const at::Tensor& features, std::int64_t kept,
                            const at::Tensor& scales) {
  const auto rows = features.contiguous();  // a solved system comes in columns
  const auto magnitudes = rows.abs();
  const auto thresholds = std::get<0>(magnitudes.topk(kept, 1)).select(1, kept - 1).contiguous();
  const auto* value = rows.const_data_ptr<double>();
  const auto* threshold = thresholds.const_data_ptr<double>();
  const auto scale = scales.contiguous();
  NeuronFeatures out;
  out.width = features.size(1);
  for (std::int64_t k = 0; k < features.size(0); ++k) {
    for (std::int32_t neuron = 0; neuron < out.width; ++neuron, ++value) {
      if (*value == 0 || !(std::abs(*value) >= threshold[k])) continue;
      out.neurons.push_back(neuron);
      out.values.push_back(static_cast<float>(*value * scale.const_data_ptr<double>()[k]));
    }
    out.offsets.push_back(static_cast<std::int64_t>(out.neurons.size()));
  }
  return out;
}

at::Tensor gram_of(const NeuronFeatures& features) {
  const auto dense = at::zeros({features.rank(), features.width}, at::kDouble);
  auto* row = dense.mutable_data_ptr<double>();
  for (std::int64_t k = 0; k < features.rank(); ++k, row += features.width)
    for (auto e = features.offsets[k]; e < features.offsets[k + 1]; ++e)
      row[features.neurons[e]] = features.values[e];
  return at::mm(dense, dense.t());
}

}  // namespace quench::activations
