#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace quench::report {

// Text as a cell: quoted as RFC 4180 wants it when it holds a comma, a quote or a line break. Text
// that a spreadsheet would run as a formula (it begins with = + - @, a tab or a carriage return)
// gets an apostrophe before it.
std::string csv_cell(const std::string& text);

struct CsvFile {
  std::string name;  // "concepts.csv"
  std::string text;
};
// concepts, cells, curve, relearning, relearning_means, tokens, collisions, overlaps, examples:
// what gather() found, as far as it is there.
std::vector<CsvFile> csv_files(const nlohmann::json& document);

}  // namespace quench::report
