#include "stages/activations/activations_file.hpp"

#include <algorithm>

#include "cluster/error.hpp"
#include "stages/activations/activations.hpp"

namespace quench::activations {

void append(Block& block, std::int64_t concept_index, std::int64_t layer, Fit fit,
            std::string failure) {
  const auto& features = fit.features;
  for (std::int64_t k = 0; k < features.rank(); ++k) {
    const auto first = features.offsets[k], last = features.offsets[k + 1];
    block.neurons.emplace_back(features.neurons.begin() + first, features.neurons.begin() + last);
    block.values.emplace_back(features.values.begin() + first, features.values.begin() + last);
    block.mean_concept.push_back(features.mean_concept[k]);
    block.mean_neutral.push_back(features.mean_neutral[k]);
    block.ratio.push_back(features.ratio[k]);
  }
  block.concepts.push_back(concept_index);
  block.layers.push_back(layer);
  block.ranks.push_back(features.rank());
  block.positions.push_back(fit.positions);
  block.concept_positions.push_back(fit.concept_positions);
  block.best_iterations.push_back(fit.best_iteration);
  block.ridges.push_back(fit.ridge);
  block.seconds.push_back(fit.seconds);
  block.stop_reasons.push_back(std::move(fit.stop_reason));
  block.failures.push_back(std::move(failure));
  block.objectives.push_back(std::move(fit.objective));
  block.g.push_back(std::move(fit.g));
}

void write(cluster::Communicator& comm, const std::filesystem::path& path,
           const cluster::StoreHeader& header, const Block& block,
           const std::vector<std::int64_t>& layers, std::int64_t width, bool with_g) {
  cluster::StoreWriter writer(comm, path, header);
  const cluster::Axes fit{{"fit"}, ""}, feature{{"feature"}, ""};
  writer.write_rows<std::int64_t>("layers", comm.rank() == 0 ? layers : std::vector<std::int64_t>{},
                                  {}, {{"layer"}, ""});
  writer.write_rows<std::int64_t>("fits/concept", block.concepts, {}, fit);
  writer.write_rows<std::int64_t>("fits/layer", block.layers, {}, fit);
  writer.write_rows<std::int64_t>("fits/feature_count", block.ranks, {}, fit);
  writer.write_rows<std::int64_t>("fits/positions", block.positions, {}, fit);
  writer.write_rows<std::int64_t>("fits/concept_positions", block.concept_positions, {}, fit);
  writer.write_ragged("fits/objective", block.objectives, {{"fit"}, "squared activation"});
  writer.write_rows<std::int64_t>("fits/best_iteration", block.best_iterations, {},
                                  {{"fit"}, "iterations"});
  writer.write_rows<double>("fits/ridge", block.ridges, {}, fit);
  writer.write_rows<double>("fits/seconds", block.seconds, {}, {{"fit"}, "s"});
  writer.write_strings("fits/stop_reason", block.stop_reasons, fit);
  writer.write_strings("fits/failure", block.failures, fit);
  writer.write_ragged("features/neurons", block.neurons, feature);
  writer.write_ragged("features/values", block.values, feature);
  writer.write_rows<double>("features/mean_concept", block.mean_concept, {}, feature);
  writer.write_rows<double>("features/mean_neutral", block.mean_neutral, {}, feature);
  writer.write_rows<double>("features/ratio", block.ratio, {}, feature);
  if (with_g) writer.write_ragged("g/values", block.g, {{"fit", "position and feature"}, ""});
  writer.attribute("/", "failures", block.failed);
  writer.attribute("/", "width", width);
  writer.finish();
}

ActivationFeatures::ActivationFeatures(const std::filesystem::path& file)
    : store_(file, "activations", schema),
      layers_(store_.read<std::int64_t>("layers")),
      feature_offsets_{0} {
  for (const auto features : store_.read<std::int64_t>("fits/feature_count"))
    feature_offsets_.push_back(feature_offsets_.back() + features);
  concepts_ = layers_.empty() ? 0 : (std::ssize(feature_offsets_) - 1) / std::ssize(layers_);
}

// Factorisations stand concept by concept, layers ascending.
std::int64_t ActivationFeatures::place_of(std::int64_t concept_index, std::int64_t layer) const {
  const auto found = std::ranges::find(layers_, layer);
  if (found == layers_.end())
    throw ConfigError("layer " + std::to_string(layer) +
                      " is not in activations.h5; add it to activations.layers");
  return concept_index * std::ssize(layers_) + (found - layers_.begin());
}

NeuronFeatures ActivationFeatures::features(std::int64_t concept_index, std::int64_t layer) const {
  const auto place = place_of(concept_index, layer);
  const cluster::Range rows{feature_offsets_.at(place), feature_offsets_.at(place + 1)};
  NeuronFeatures out;
  out.width = static_cast<std::int64_t>(store_.number_attribute("/", "width"));
  if (rows.size() == 0) return out;
  for (const auto& neurons : store_.read_ragged<std::int32_t>("features/neurons", rows)) {
    out.neurons.insert(out.neurons.end(), neurons.begin(), neurons.end());
    out.offsets.push_back(std::ssize(out.neurons));
  }
  for (const auto& values : store_.read_ragged<float>("features/values", rows))
    out.values.insert(out.values.end(), values.begin(), values.end());
  out.mean_concept = store_.read_rows<double>("features/mean_concept", rows);
  out.mean_neutral = store_.read_rows<double>("features/mean_neutral", rows);
  out.ratio = store_.read_rows<double>("features/ratio", rows);
  return out;
}

std::string ActivationFeatures::failure(std::int64_t concept_index, std::int64_t layer) const {
  const auto place = place_of(concept_index, layer);
  return store_.read_strings("fits/failure", {place, place + 1}).at(0);
}

}  // namespace quench::activations
