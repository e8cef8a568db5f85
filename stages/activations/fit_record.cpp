#include "stages/activations/fit_record.hpp"

#include "cluster/error.hpp"
#include "stages/factorisation/record.hpp"

namespace quench::activations {

namespace {

using nlohmann::json;

json to_json(const NeuronFeatures& features) {
  return {{"width", features.width},
          {"offsets", bytes_of(features.offsets)},
          {"neurons", bytes_of(features.neurons)},
          {"values", bytes_of(features.values)},
          {"mean_concept", bytes_of(features.mean_concept)},
          {"mean_neutral", bytes_of(features.mean_neutral)},
          {"ratio", bytes_of(features.ratio)}};
}

NeuronFeatures to_features(const json& record) {
  NeuronFeatures features;
  record.at("width").get_to(features.width);
  read_bytes(record, "offsets", features.offsets);
  read_bytes(record, "neurons", features.neurons);
  read_bytes(record, "values", features.values);
  read_bytes(record, "mean_concept", features.mean_concept);
  read_bytes(record, "mean_neutral", features.mean_neutral);
  read_bytes(record, "ratio", features.ratio);
  return features;
}

}  // namespace

std::string pack(const Fit& fit) {
  return to_cbor({{"features", to_json(fit.features)},
                  {"positions", fit.positions},
                  {"concept_positions", fit.concept_positions},
                  {"objective", bytes_of(fit.objective)},
                  {"ridge", fit.ridge},
                  {"best_iteration", fit.best_iteration},
                  {"stop_reason", fit.stop_reason},
                  {"seconds", fit.seconds},
                  {"g", bytes_of(fit.g)}});
}

Fit unpack(const std::string& bytes) {
  try {
    const auto record = json::from_cbor(bytes);
    Fit fit;
    fit.features = to_features(record.at("features"));
    record.at("positions").get_to(fit.positions);
    record.at("concept_positions").get_to(fit.concept_positions);
    read_bytes(record, "objective", fit.objective);
    record.at("ridge").get_to(fit.ridge);
    record.at("best_iteration").get_to(fit.best_iteration);
    record.at("stop_reason").get_to(fit.stop_reason);
    record.at("seconds").get_to(fit.seconds);
    read_bytes(record, "g", fit.g);
    return fit;
  } catch (const json::exception& error) {
    throw DataError(std::string("a journalled factorisation cannot be read (") + error.what() +
                    "); remove the journals of stage activations and run again");
  }
}

void save_state(const std::filesystem::path& file, const FitState& state) {
  save_record(file, {{"objective", bytes_of(state.objective)},
                     {"ridge", state.ridge},
                     {"ridge_raises", state.ridge_raises},
                     {"g", bytes_of(state.g)},
                     {"best_g", bytes_of(state.best_g)},
                     {"best_features", to_json(state.best_features)}});
}

std::optional<FitState> load_state(const std::filesystem::path& file) {
  const auto record = load_record(file);
  if (!record) return {};
  FitState state;
  read_bytes(*record, "objective", state.objective);
  record->at("ridge").get_to(state.ridge);
  record->at("ridge_raises").get_to(state.ridge_raises);
  read_bytes(*record, "g", state.g);
  read_bytes(*record, "best_g", state.best_g);
  state.best_features = to_features(record->at("best_features"));
  return state;
}

}  // namespace quench::activations
