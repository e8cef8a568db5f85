#pragma once

#include <limits>
#include <string>
#include <vector>

#include "stages/erasure/erasure.hpp"

// The search for a concept's strength: what is tried, and what is kept of it.
namespace quench::erasure {

// One strength that was tried.
struct Cell {
  double strength = 0;
  CellScores scores;
  bool passed = false;  // all gates
  // Standard error of the difference between this cell's harmonic mean and the highest of those
  // that passed, paired over items. NaN: not known.
  double error = std::numeric_limits<double>::quiet_NaN();
};

// A concept's edit and what the search found.
struct ConceptResult {
  model::RowDeltas edit;                 // unit strength
  std::vector<std::uint8_t> is_variant;  // of each row of the edit
  std::vector<float> row_norms;          // of the embedding rows as stored
  std::vector<Cell> cells;               // in the order tried
  double strength = 0;                   // chosen; 0: not edited
  std::string status;                    // as Edits::status
};

// Whether the cell passes the gates of the options. What cannot be measured stops nothing.
bool passes(const CellScores& scores, const Options& options);

// Whether coherence, or fluency or variety alone, which it is made of, is below `least` (methods
// 5.4 of the reference gates each part).
bool is_incoherent(const CellScores& scores, double least);

// Whether general questions or those of the neighbours measured nothing in this cell: there are
// none, or the untouched model does not answer them above chance.
bool is_unmeasured(const Cell& cell);

// Whether the cell may be chosen at all: it passed, efficacy is above 0, and so are specificity and
// coherence where they are measured.
bool is_eligible(const Cell& cell);

// The best cell: highest harmonic mean among the eligible ones, ties to the smaller strength; null
// when there is none.
const Cell* best_cell(const std::vector<Cell>& cells);

// What erasure.choice takes: the best cell, or the smallest eligible strength whose harmonic mean
// is within one standard error of it (Breiman et al. 1984, 3.4.3): with a dozen questions the
// highest figure is often so by luck, and a stronger edit costs the neighbours more. Null: none is
// eligible.
const Cell* balanced_cell(const std::vector<Cell>& cells, const std::string& choice);

// The status of a concept none of whose cells may be chosen: no_effect where those that passed the
// gates erase nothing, else gated.
std::string status_of_none(const std::vector<Cell>& cells);

// Tries strengths as the strategy of the options says, and chooses. Collective over the group:
// scores are the same on all ranks of a group, so all ranks take the same road.
ConceptResult search(const Inputs& inputs, const Options& options, cluster::Communicator& group,
                     std::int64_t concept_index);

// For journals: a concept's result, without draws; and scores with them.
std::string pack(const ConceptResult& result);
ConceptResult unpack(const std::string& bytes);
std::string pack_scores(const CellScores& scores);
CellScores unpack_scores(const std::string& bytes);
// The columns of a cell: each figure that is told with an interval, its _low, _high and _n, then
// the others.
inline constexpr std::size_t columns_of_told = 4;
std::vector<std::string> cell_figures();
std::vector<double> to_row(const CellScores& scores);
CellScores from_row(const std::vector<double>& row);

}  // namespace quench::erasure
