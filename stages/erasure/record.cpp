// A concept's result as a journal's record, and a cell's figures as a row.
#include <nlohmann/json.hpp>

#include "stages/erasure/search.hpp"

namespace quench::erasure {

using nlohmann::json;

std::vector<std::string> cell_figures() {
  return {"efficacy", "specificity", "coherence", "general_left", "own_left", "similar_left",
          "harmonic", "reused",      "measured",  "fluency",      "variety"};
}

std::vector<double> to_row(const CellScores& s) {
  return {s.efficacy,
          s.specificity,
          s.coherence,
          s.general_left,
          s.own_left,
          s.similar_left,
          s.harmonic,
          static_cast<double>(s.reused),
          static_cast<double>(s.measured),
          s.fluency,
          s.variety};
}

CellScores from_row(const std::vector<double>& row) {
  // A journal of an earlier version lacks the last two.
  const auto last = [&](std::size_t i) {
    return i < row.size() ? row[i] : std::numeric_limits<double>::quiet_NaN();
  };
  return {row[0],
          row[1],
          row[2],
          row[3],
          row[4],
          row[5],
          row[6],
          static_cast<std::int64_t>(row[7]),
          static_cast<std::int64_t>(row[8]),
          last(9),
          last(10)};
}

std::string pack(const ConceptResult& result) {
  json cells = json::array();
  for (const auto& cell : result.cells) {
    cells.push_back({cell.strength, to_row(cell.scores), cell.passed, cell.error});
  }
  const json record = {result.edit.width, result.edit.ids, result.edit.values, cells,
                       result.strength,   result.status,   result.is_variant,  result.row_norms};
  const auto bytes = json::to_cbor(record);
  return {bytes.begin(), bytes.end()};
}

ConceptResult unpack(const std::string& bytes) {
  const json record = json::from_cbor(bytes);
  ConceptResult result;
  result.edit = {record[0], record[1], record[2]};
  for (const auto& cell : record[3])
    result.cells.push_back({cell[0], from_row(cell[1]), cell[2], cell[3]});
  result.strength = record[4];
  result.status = record[5];
  result.is_variant = record[6].get<std::vector<std::uint8_t>>();
  result.row_norms = record[7].get<std::vector<float>>();
  return result;
}

}  // namespace quench::erasure
