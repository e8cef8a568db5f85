#pragma once

#include <string>
#include <vector>

#include "stages/erasure/erasure.hpp"

namespace quench::erasure {

// One strength that was tried.
struct Cell {
  double strength = 0;
  CellScores scores;
  bool passed = false;  // both gates
};

// A concept's edit and what the grid found.
struct ConceptResult {
  model::RowDeltas edit;                 // unit strength
  std::vector<std::uint8_t> is_variant;  // of each row of the edit
  std::vector<float> row_norms;          // of the embedding rows as stored
  std::vector<Cell> cells;
  double strength = 0;  // chosen; 0: not edited
  std::string status;   // ok, no_features, unknown_to_model, gated
};

// The best cell: highest harmonic mean among those that pass, ties to the smaller strength; null
// when none has a positive one.
const Cell* best_cell(const std::vector<Cell>& cells);

// Tries the strengths in ascending order; ends early when the general questions fail the gate at
// two strengths in a row, since a stronger edit of the same rows only does more harm. Collective
// over the group.
ConceptResult search(const Inputs& inputs, const Options& options, cluster::Communicator& group,
                     std::int64_t concept_index);

// For journals.
std::string pack(const ConceptResult& result);
ConceptResult unpack(const std::string& bytes);
// The figures of a cell in the order of cell_figures().
std::vector<std::string> cell_figures();
std::vector<double> to_row(const CellScores& scores);
CellScores from_row(const std::vector<double>& row);

}  // namespace quench::erasure
