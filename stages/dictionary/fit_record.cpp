#include "stages/dictionary/fit_record.hpp"

#include "cluster/error.hpp"
#include "stages/factorisation/record.hpp"

namespace quench::dictionary {

namespace {

using nlohmann::json;

FitState read_state(const json& record) {
  FitState state;
  read_bytes(record, "objective", state.objective);
  read_bytes(record, "rows", state.rows);
  read_bytes(record, "values", state.values);
  read_bytes(record, "best_rows", state.best_rows);
  read_bytes(record, "best_values", state.best_values);
  read_bytes(record, "best_features", state.best_features);
  record.at("ridge").get_to(state.ridge);
  record.at("ridge_raises").get_to(state.ridge_raises);
  record.at("best_iteration").get_to(state.best_iteration);
  return state;
}

}  // namespace

std::string pack(const Fit& fit) {
  const auto& factors = fit.factors;
  return to_cbor({{"tokens", bytes_of(factors.tokens)},
                  {"width", factors.width},
                  {"rank", factors.rank},
                  {"features", bytes_of(factors.features)},
                  {"rows", bytes_of(factors.rows)},
                  {"coefficients", bytes_of(factors.coefficients)},
                  {"objective", bytes_of(fit.objective)},
                  {"ridge", fit.ridge},
                  {"best_iteration", fit.best_iteration},
                  {"stop_reason", fit.stop_reason},
                  {"form", fit.form},
                  {"share_computed", fit.share_computed},
                  {"seconds", fit.seconds.total()},
                  {"predicted_seconds", fit.predicted_seconds}});
}

Fit unpack(const std::string& bytes) {
  try {
    const auto record = json::from_cbor(bytes);
    Fit fit;
    read_bytes(record, "tokens", fit.factors.tokens);
    read_bytes(record, "features", fit.factors.features);
    read_bytes(record, "rows", fit.factors.rows);
    read_bytes(record, "coefficients", fit.factors.coefficients);
    read_bytes(record, "objective", fit.objective);
    record.at("width").get_to(fit.factors.width);
    record.at("rank").get_to(fit.factors.rank);
    record.at("ridge").get_to(fit.ridge);
    record.at("best_iteration").get_to(fit.best_iteration);
    record.at("stop_reason").get_to(fit.stop_reason);
    record.at("form").get_to(fit.form);
    record.at("share_computed").get_to(fit.share_computed);
    record.at("seconds").get_to(fit.seconds.dense);
    record.at("predicted_seconds").get_to(fit.predicted_seconds);
    return fit;
  } catch (const json::exception& error) {
    throw DataError(std::string("a journalled factorisation cannot be read (") + error.what() +
                    "); remove the journals of stage dictionary and run again");
  }
}

void save_state(const std::filesystem::path& file, const FitState& state) {
  save_record(file, {{"objective", bytes_of(state.objective)},
                     {"rows", bytes_of(state.rows)},
                     {"values", bytes_of(state.values)},
                     {"best_rows", bytes_of(state.best_rows)},
                     {"best_values", bytes_of(state.best_values)},
                     {"best_features", bytes_of(state.best_features)},
                     {"ridge", state.ridge},
                     {"ridge_raises", state.ridge_raises},
                     {"best_iteration", state.best_iteration}});
}

std::optional<FitState> load_state(const std::filesystem::path& file) {
  const auto record = load_record(file);
  if (!record) return {};
  return read_state(*record);
}

}  // namespace quench::dictionary
