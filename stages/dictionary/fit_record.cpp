#include "stages/dictionary/fit_record.hpp"

#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>

#include "cluster/error.hpp"

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
std::vector<T> values_of(const json& field) {
  const auto& bytes = field.get_binary();
  std::vector<T> values(bytes.size() / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), values.size() * sizeof(T));
  return values;
}

}  // namespace

std::string pack(const Fit& fit) {
  const auto& factors = fit.factors;
  const json record = {{"tokens", bytes_of(factors.tokens)},
                       {"width", factors.width},
                       {"rank", factors.rank},
                       {"features", bytes_of(factors.features)},
                       {"rows", bytes_of(factors.rows)},
                       {"coefficients", bytes_of(factors.coefficients)},
                       {"objective", bytes_of(fit.objective)},
                       {"ridge", fit.ridge},
                       {"best_iteration", fit.best_iteration},
                       {"stop_reason", fit.stop_reason}};
  std::string bytes;
  json::to_cbor(record, bytes);
  return bytes;
}

Fit unpack(const std::string& bytes) {
  try {
    const auto record = json::from_cbor(bytes);
    return {
        {values_of<std::int32_t>(record.at("tokens")), record.at("width").get<std::int64_t>(),
         record.at("rank").get<std::int64_t>(), values_of<float>(record.at("features")),
         values_of<std::int32_t>(record.at("rows")), values_of<float>(record.at("coefficients"))},
        values_of<double>(record.at("objective")),
        record.at("ridge").get<double>(),
        record.at("best_iteration").get<std::int64_t>(),
        record.at("stop_reason").get<std::string>()};
  } catch (const json::exception& error) {
    throw DataError(std::string("a journalled factorisation cannot be read (") + error.what() +
                    "); remove the journals of stage dictionary and run again");
  }
}

}  // namespace quench::dictionary
