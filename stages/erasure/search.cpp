#include "stages/erasure/search.hpp"

#include <algorithm>
#include <cmath>

#include "stages/erasure/strategy.hpp"

namespace quench::erasure {

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

// Standard deviation of the difference between two cells' harmonic means (the last figure told)
// over the same resamples of the items, of those that measure both; NaN where there are none.
double error_of_difference(const std::vector<ToldFigures>& a, const std::vector<ToldFigures>& b) {
  double sum = 0, squares = 0, n = 0;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const double difference = a[i].back() - b[i].back();
    if (std::isnan(difference)) continue;
    sum += difference;
    squares += difference * difference;
    n += 1;
  }
  if (n < 2) return std::numeric_limits<double>::quiet_NaN();
  return std::sqrt(std::max(0.0, squares - sum * sum / n) / (n - 1));
}

void add_errors(std::vector<Cell>& cells) {
  const Cell* best = best_cell(cells);
  if (best == nullptr) return;
  for (auto& cell : cells) cell.error = error_of_difference(cell.scores.draws, best->scores.draws);
}

}  // namespace

bool passes(const CellScores& scores, const Options& options) {
  // A comparison with NaN is false: what cannot be measured stops nothing that a gate was set for.
  return !(scores.general_left < options.min_general) &&
         !is_incoherent(scores, options.min_coherence) &&
         !(scores.specificity < options.min_specificity);
}

bool is_incoherent(const CellScores& scores, double least) {
  return scores.coherence < least || scores.fluency < least || scores.variety < least;
}

bool is_unmeasured(const Cell& cell) {
  // Of a cell that ended at a gate, whose specificity is NaN, only the general questions are known
  // to have been asked.
  const auto& s = cell.scores;
  return std::isnan(s.general_left) || (std::isnan(s.similar_left) && !std::isnan(s.specificity));
}

bool is_eligible(const Cell& cell) { return cell.passed && cell.scores.harmonic > 0; }

const Cell* best_cell(const std::vector<Cell>& cells) {
  const auto is_better = [](const Cell& a, const Cell& b) {
    if (a.scores.harmonic != b.scores.harmonic) return a.scores.harmonic > b.scores.harmonic;
    return a.strength < b.strength;
  };
  const Cell* best = nullptr;
  for (const auto& cell : cells)
    if (is_eligible(cell) && (best == nullptr || is_better(cell, *best))) best = &cell;
  return best;
}

const Cell* balanced_cell(const std::vector<Cell>& cells, const std::string& choice) {
  const Cell* best = best_cell(cells);
  if (best == nullptr || choice == "best") return best;
  const Cell* gentlest = best;
  for (const auto& cell : cells) {
    const bool as_good = best->scores.harmonic - cell.scores.harmonic <= cell.error;
    if (is_eligible(cell) && as_good && cell.strength < gentlest->strength) gentlest = &cell;
  }
  return gentlest;
}

std::string status_of_none(const std::vector<Cell>& cells) {
  bool passed = false, erases = false;
  for (const auto& cell : cells) {
    passed = passed || cell.passed;
    erases = erases || (cell.passed && cell.scores.efficacy > 0);
  }
  return passed && !erases ? "no_effect" : "gated";
}

ConceptResult search(const Inputs& inputs, const Options& options, cluster::Communicator& group,
                     std::int64_t concept_index) {
  const auto selected = inputs.selected(concept_index);
  auto result = edited(inputs, concept_index, selected);
  if (selected.features.empty() || selected.tokens.empty()) {
    result.status = "no_features";
    return result;
  }
  if (!inputs.known[concept_index] && options.unknown == "leave") {
    result.status = "unknown_to_model";
    return result;
  }
  const auto strategy = make_strategy(options);
  while (const auto strength = strategy->next(result.cells)) {
    auto scores = inputs.score_alone(group, concept_index, result.edit, *strength);
    const bool passed = passes(scores, options);
    result.cells.push_back({.strength = *strength, .scores = std::move(scores), .passed = passed});
  }
  add_errors(result.cells);
  const auto choice = strategy->choose(result.cells);
  result.strength = choice.cell == nullptr ? 0 : choice.cell->strength;
  result.status = choice.status;
  return result;
}

std::unique_ptr<Strategy> make_strategy(const Options& options) {
  return options.search == "target" ? make_target(options) : make_grid(options);
}

std::int64_t most_cells(const Options& options) { return make_strategy(options)->most(); }

}  // namespace quench::erasure
