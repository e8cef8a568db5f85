#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "cluster/error.hpp"

namespace quench::model {

// Reads the fields of one JSON object with a check of type and range. What is wrong is added to the
// problems under "<place><key>" and a harmless value returned, so that everything wrong is told at
// once. A key that is missing gives the default; without a default it is a problem. A null counts
// as missing, except for the optional_ readers, where it means "none".
class JsonFields {
 public:
  // Keeps references to both. `place`: the path to the object, ending in a dot, or empty.
  JsonFields(const nlohmann::json& object, std::string place, Problems& problems)
      : object_(object), place_(std::move(place)), problems_(problems) {}

  bool has(const std::string& key) const;  // there and not null

  std::int64_t integer(const std::string& key, std::int64_t low, std::int64_t high,
                       std::optional<std::int64_t> otherwise = {});
  // Greater than 0 and finite.
  double positive(const std::string& key, std::optional<double> otherwise = {});
  // Missing: `otherwise`; null: 0; else greater than 0.
  double optional_positive(const std::string& key, double otherwise);
  // Missing or null: `otherwise`; else finite.
  double number(const std::string& key, double otherwise);
  bool flag(const std::string& key, bool otherwise);
  std::string text(const std::string& key, const std::optional<std::string>& otherwise = {});
  // An object, or null when missing (or no object: a problem).
  const nlohmann::json* object(const std::string& key);

  void problem(const std::string& key, const std::string& what);

 private:
  const nlohmann::json* find(const std::string& key) const;
  std::string shown(const std::string& key) const;  // the value, cut to a readable length

  const nlohmann::json& object_;
  std::string place_;
  Problems& problems_;
};

}  // namespace quench::model
