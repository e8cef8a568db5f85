#include "model/json_fields.hpp"

#include <cmath>

namespace quench::model {

const nlohmann::json* JsonFields::find(const std::string& key) const {
  const auto found = object_.find(key);
  return found == object_.end() ? nullptr : &*found;
}

bool JsonFields::has(const std::string& key) const {
  const auto* value = find(key);
  return value != nullptr && !value->is_null();
}

std::string JsonFields::shown(const std::string& key) const {
  auto text = find(key)->dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  if (text.size() <= 60) return text;
  std::size_t end = 57;
  while ((static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;  // whole characters
  return text.substr(0, end) + "...";
}

void JsonFields::problem(const std::string& key, const std::string& what) {
  problems_.add(place_ + key, what);
}

std::int64_t JsonFields::integer(const std::string& key, std::int64_t low, std::int64_t high,
                                 std::optional<std::int64_t> otherwise) {
  const auto wrong = [&](const std::string& what) {
    problem(key, what + ", an integer from " + std::to_string(low) + " to " + std::to_string(high) +
                     " is expected");
    return otherwise.value_or(low);
  };
  if (!has(key)) return otherwise ? *otherwise : wrong("missing");
  const auto& value = *find(key);
  if (!value.is_number_integer()) return wrong(shown(key));
  if (value.is_number_unsigned() &&
      value.get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX))
    return wrong(shown(key));
  const auto number = value.get<std::int64_t>();
  return number < low || number > high ? wrong(shown(key)) : number;
}

double JsonFields::positive(const std::string& key, std::optional<double> otherwise) {
  if (!has(key)) {
    if (!otherwise) problem(key, "missing, a number above 0 is expected");
    return otherwise.value_or(1);
  }
  const auto& value = *find(key);
  const double number = value.is_number() ? value.get<double>() : 0;
  if (number > 0 && std::isfinite(number)) return number;
  problem(key, shown(key) + ", a number above 0 is expected");
  return otherwise.value_or(1);
}

double JsonFields::optional_positive(const std::string& key, double otherwise) {
  if (find(key) == nullptr) return otherwise;
  return has(key) ? positive(key) : 0;
}

double JsonFields::number(const std::string& key, double otherwise) {
  if (!has(key)) return otherwise;
  const auto& value = *find(key);
  if (value.is_number() && std::isfinite(value.get<double>())) return value.get<double>();
  problem(key, shown(key) + ", a number is expected");
  return otherwise;
}

bool JsonFields::flag(const std::string& key, bool otherwise) {
  if (!has(key)) return otherwise;
  const auto& value = *find(key);
  if (!value.is_boolean()) problem(key, shown(key) + ", true or false is expected");
  return value.is_boolean() ? value.get<bool>() : otherwise;
}

std::string JsonFields::text(const std::string& key, const std::optional<std::string>& otherwise) {
  if (has(key) && find(key)->is_string()) return find(key)->get<std::string>();
  if (has(key))
    problem(key, shown(key) + ", a text is expected");
  else if (!otherwise)
    problem(key, "missing, a text is expected");
  return otherwise.value_or("");
}

const nlohmann::json* JsonFields::object(const std::string& key) {
  if (!has(key)) return nullptr;
  const auto* value = find(key);
  if (value->is_object()) return value;
  problem(key, shown(key) + ", an object is expected");
  return nullptr;
}

}  // namespace quench::model
