#pragma once

#include <cmath>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

// Numbers of a run's files as the report's document has them: what is not finite is null.
namespace quench::report {

inline nlohmann::json number(double x) {
  return std::isfinite(x) ? nlohmann::json(x) : nlohmann::json(nullptr);
}

inline nlohmann::json numbers(std::span<const double> values) {
  auto list = nlohmann::json::array();
  for (const double x : values) list.push_back(number(x));
  return list;
}

// {figure: [value, low, high, n], ...} from a row of columns NAME, NAME_low, NAME_high and NAME_n;
// a column without these behind it is {NAME: number}.
inline nlohmann::json figures(const std::vector<std::string>& columns,
                              std::span<const double> row) {
  auto named = nlohmann::json::object();
  for (std::size_t i = 0; i < columns.size();) {
    const bool is_estimate = i + 3 < columns.size() && columns[i + 3] == columns[i] + "_n";
    named[columns[i]] = is_estimate ? numbers(row.subspan(i, 4)) : number(row[i]);
    i += is_estimate ? 4 : 1;
  }
  return named;
}

}  // namespace quench::report
