// A concept's result as a journal's record, and a cell's figures as a row.
#include <nlohmann/json.hpp>

#include "stages/erasure/search.hpp"

namespace quench::erasure {

using nlohmann::json;

namespace {

std::string to_bytes(const json& record) {
  const auto bytes = json::to_cbor(record);
  return {bytes.begin(), bytes.end()};
}

}  // namespace

std::vector<std::string> cell_figures() {
  std::vector<std::string> columns;
  for (const std::string name : {"efficacy", "specificity", "coherence", "general_left", "own_left",
                                 "similar_left", "harmonic"})
    columns.insert(columns.end(), {name, name + "_low", name + "_high", name + "_n"});
  columns.insert(columns.end(), {"reused", "measured", "fluency", "variety"});
  return columns;
}

std::vector<double> to_row(const CellScores& s) {
  std::vector<double> row;
  const auto told = s.told();
  for (std::size_t f = 0; f < told_figures; ++f) {
    const auto& spread = s.spreads[f];
    row.insert(row.end(), {told[f], spread.low, spread.high, static_cast<double>(spread.n)});
  }
  row.insert(row.end(), {static_cast<double>(s.reused), static_cast<double>(s.measured), s.fluency,
                         s.variety});
  return row;
}

CellScores from_row(const std::vector<double>& row) {
  const auto told = [&](std::size_t f) { return row[columns_of_told * f]; };
  const double* others = row.data() + columns_of_told * told_figures;
  CellScores scores{told(0),
                    told(1),
                    told(2),
                    told(3),
                    told(4),
                    told(5),
                    told(6),
                    static_cast<std::int64_t>(others[0]),
                    static_cast<std::int64_t>(others[1]),
                    others[2],
                    others[3]};
  for (std::size_t f = 0; f < told_figures; ++f) {
    const double* figure = row.data() + columns_of_told * f;
    scores.spreads[f] = {figure[1], figure[2], static_cast<std::int64_t>(figure[3])};
  }
  return scores;
}

std::string pack_scores(const CellScores& scores) {
  // An interval needs no more than single precision, and there are many draws.
  std::vector<float> draws;
  for (const auto& draw : scores.draws) draws.insert(draws.end(), draw.begin(), draw.end());
  return to_bytes({to_row(scores), draws});
}

CellScores unpack_scores(const std::string& bytes) {
  const json record = json::from_cbor(bytes);
  auto scores = from_row(record[0]);
  const auto draws = record[1].get<std::vector<double>>();
  for (auto draw = draws.begin(); draw != draws.end(); draw += told_figures)
    std::copy_n(draw, told_figures, scores.draws.emplace_back().begin());
  return scores;
}

std::string pack(const ConceptResult& result) {
  json cells = json::array();
  for (const auto& cell : result.cells) {
    cells.push_back({cell.strength, to_row(cell.scores), cell.passed, cell.error});
  }
  return to_bytes({result.edit.width, result.edit.ids, result.edit.values, cells, result.strength,
                   result.status, result.is_variant, result.row_norms});
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
