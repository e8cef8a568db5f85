#include "stages/evaluation/codec.hpp"

#include <nlohmann/json.hpp>

namespace quench::evaluation {

using nlohmann::json;

std::string pack(std::span<const Measurement> measurements) {
  json list = json::array();
  for (const auto& m : measurements) list.push_back({m.values, m.answer, m.reused});
  const auto bytes = json::to_cbor(list);
  return {bytes.begin(), bytes.end()};
}

std::vector<Measurement> unpack(std::string_view bytes) {
  std::vector<Measurement> measurements;
  for (const auto& item : json::from_cbor(bytes)) {
    measurements.push_back({item[0], item[1], item[2]});
  }
  return measurements;
}

}  // namespace quench::evaluation
