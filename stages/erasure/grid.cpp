#include "stages/erasure/grid.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace quench::erasure {

using nlohmann::json;

namespace {

// The concept's edit with what a reader wants to know of its rows.
ConceptResult edited(const Inputs& inputs, std::int64_t concept_index, const Selected& selected) {
  ConceptResult result;
  const auto refit = inputs.refit(concept_index);
  result.edit = unit_edit(inputs.factors(concept_index), selected, inputs.scale, refit);
  for (const auto token : result.edit.ids) {
    result.is_variant.push_back(std::ranges::binary_search(selected.tokens, token) ? 0 : 1);
    double squares = 0;
    for (const float x : refit.row(token)) squares += static_cast<double>(x) * x;
    result.row_norms.push_back(static_cast<float>(std::sqrt(squares)));
  }
  return result;
}

bool passes(const CellScores& scores, const Options& options) {
  // A comparison with NaN is false: what cannot be measured stops nothing that a gate was set for.
  return !(scores.general_left < options.min_general) &&
         !(scores.coherence < options.min_coherence);
}

}  // namespace

const Cell* best_cell(const std::vector<Cell>& cells) {
  const Cell* best = nullptr;
  for (const auto& cell : cells) {
    if (!cell.passed || !(cell.scores.harmonic > 0)) continue;
    if (best == nullptr || cell.scores.harmonic > best->scores.harmonic) best = &cell;
  }
  return best;
}

ConceptResult search(const Inputs& inputs, const Options& options, cluster::Communicator& group,
                     std::int64_t concept_index) {
  const auto selected = inputs.selected(concept_index);
  auto result = edited(inputs, concept_index, selected);
  if (selected.features.empty() || selected.tokens.empty()) {
    result.status = "no_features";
    return result;
  }
  if (!inputs.known[concept_index]) {
    result.status = "unknown_to_model";
    return result;
  }
  auto strengths = options.strengths;
  std::ranges::sort(strengths);
  int too_strong = 0;
  for (const double strength : strengths) {
    const auto scores = inputs.score_alone(group, concept_index, result.edit, strength);
    result.cells.push_back({strength, scores, passes(scores, options)});
    too_strong = scores.general_left < options.min_general ? too_strong + 1 : 0;
    if (too_strong == 2) break;
  }
  const Cell* best = best_cell(result.cells);
  result.strength = best == nullptr ? 0 : best->strength;
  result.status = best == nullptr ? "gated" : "ok";
  return result;
}

std::vector<std::string> cell_figures() {
  return {"efficacy",     "specificity", "coherence", "general_left", "own_left",
          "similar_left", "harmonic",    "reused",    "measured"};
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
          static_cast<double>(s.measured)};
}

CellScores from_row(const std::vector<double>& row) {
  return {row[0],
          row[1],
          row[2],
          row[3],
          row[4],
          row[5],
          row[6],
          static_cast<std::int64_t>(row[7]),
          static_cast<std::int64_t>(row[8])};
}

std::string pack(const ConceptResult& result) {
  json cells = json::array();
  for (const auto& cell : result.cells) {
    cells.push_back({cell.strength, to_row(cell.scores), cell.passed});
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
  for (const auto& cell : record[3]) result.cells.push_back({cell[0], from_row(cell[1]), cell[2]});
  result.strength = record[4];
  result.status = record[5];
  result.is_variant = record[6].get<std::vector<std::uint8_t>>();
  result.row_norms = record[7].get<std::vector<float>>();
  return result;
}

}  // namespace quench::erasure
