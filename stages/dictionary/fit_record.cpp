#include "stages/dictionary/fit_record.hpp"

#include <bit>
#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "cluster/error.hpp"
#include "cluster/hash.hpp"
#include "cluster/log.hpp"

namespace quench::dictionary {

namespace {

static_assert(std::endian::native == std::endian::little, "arrays are stored little-endian");

using nlohmann::json;

template <typename T>
json bytes_of(const std::vector<T>& values) {
  std::vector<std::uint8_t> bytes(values.size() * sizeof(T));
  if (!bytes.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return json::binary(std::move(bytes));
}

template <typename T>
void read_bytes(const json& record, const char* key, std::vector<T>& values) {
  const auto& bytes = record.at(key).get_binary();
  values.resize(bytes.size() / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), values.size() * sizeof(T));
}

std::string to_text(const json& record) {
  std::string bytes;
  json::to_cbor(record, bytes);
  return bytes;
}

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
  return to_text({{"tokens", bytes_of(factors.tokens)},
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
                  {"seconds", fit.seconds.total()}});
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
    return fit;
  } catch (const json::exception& error) {
    throw DataError(std::string("a journalled factorisation cannot be read (") + error.what() +
                    "); remove the journals of stage dictionary and run again");
  }
}

void save_state(const std::filesystem::path& file, const FitState& state) {
  auto bytes = to_text({{"objective", bytes_of(state.objective)},
                        {"rows", bytes_of(state.rows)},
                        {"values", bytes_of(state.values)},
                        {"best_rows", bytes_of(state.best_rows)},
                        {"best_values", bytes_of(state.best_values)},
                        {"best_features", bytes_of(state.best_features)},
                        {"ridge", state.ridge},
                        {"ridge_raises", state.ridge_raises},
                        {"best_iteration", state.best_iteration}});
  bytes += cluster::Sha256().field(bytes).hex();
  auto partial = file;
  partial += ".partial";
  std::ofstream out(partial, std::ios::binary | std::ios::trunc);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  out.close();
  if (!out) {
    std::error_code ignored;
    std::filesystem::remove(partial, ignored);
    throw DataError(partial.string() + ": the checkpoint cannot be written; is the disk full?");
  }
  std::filesystem::rename(partial, file);
}

std::optional<FitState> load_state(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return {};
  const std::string bytes{std::istreambuf_iterator<char>(in), {}};
  constexpr std::size_t checksum = 64;  // hex digits
  try {
    const auto body = bytes.substr(0, bytes.size() - std::min(bytes.size(), checksum));
    if (cluster::Sha256().field(body).hex() == bytes.substr(body.size()))
      return read_state(json::from_cbor(body));
  } catch (const json::exception&) {
  }
  cluster::log_warning(file.string() +
                       ": the checkpoint is damaged; its factorisation begins anew");
  return {};
}

}  // namespace quench::dictionary
