#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "stages/erasure/search.hpp"
#include "tests/unit/planted_search.hpp"

namespace quench::erasure {
namespace {

using namespace erasure::testing;
using Ids = std::vector<std::int32_t>;
using Values = std::vector<float>;
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

Cell cell(double strength, double harmonic, bool passed = true) {
  Cell made{.strength = strength, .scores = {}, .passed = passed};
  made.scores.harmonic = harmonic;
  return made;
}

TEST(BestCell, HighestThatPassesTiesToTheSmaller) {
  const auto best = [](const std::vector<Cell>& cells) {
    const auto* found = best_cell(cells);
    return found == nullptr ? 0 : found->strength;
  };
  EXPECT_EQ(best({cell(1, 0.2), cell(2, 0.5), cell(5, 0.4)}), 2);
  EXPECT_EQ(best({cell(1, 0.2), cell(2, 0.5), cell(5, 0.5)}), 2);
  EXPECT_EQ(best({cell(1, 0.2), cell(2, 0.5, false), cell(5, 0.4)}), 5);
  EXPECT_EQ(best({cell(1, nan), cell(2, 0.1)}), 2);
  EXPECT_EQ(best({cell(1, 0), cell(2, nan), cell(5, 0.9, false)}), 0);
  EXPECT_EQ(best({}), 0);
}

TEST(Search, TakesTheBestOfTheGrid) {
  Planted planted([](double s) { return scores_of(1 - std::abs(s - 5) / 100); });
  planted.options.strengths = {20, 1, 5, 2};
  const auto result = planted.search();
  EXPECT_EQ(planted.tried, (std::vector<double>{1, 2, 5, 20}));
  EXPECT_EQ(result.strength, 5);
  EXPECT_EQ(result.status, "ok");
  EXPECT_EQ(result.cells.size(), 4U);
  EXPECT_EQ(result.row_norms, (Values{std::sqrt(31.25f), std::sqrt(101.25f)}));
}

TEST(Search, EndsWhenTooStrongTwice) {
  Planted planted([](double s) { return scores_of(s / 100, s == 2 || s >= 10 ? 0.5 : 1); });
  planted.options.strengths = {1, 2, 5, 10, 20, 50, 100};
  const auto result = planted.search();
  EXPECT_EQ(planted.tried, (std::vector<double>{1, 2, 5, 10, 20}));
  EXPECT_EQ(result.strength, 5);
  EXPECT_FALSE(result.cells[1].passed);
  EXPECT_TRUE(result.cells[2].passed);
}

TEST(Search, IncoherenceGatesButDoesNotEnd) {
  Planted planted([](double s) { return scores_of(s / 100, 1, s >= 2 ? 0.89 : 0.9); });
  const auto result = planted.search();
  EXPECT_EQ(planted.tried, planted.options.strengths);
  EXPECT_EQ(result.strength, 1);
}

TEST(Search, WhatIsNotMeasuredGatesNothing) {
  Planted planted([](double) { return scores_of(0.5, nan, nan); });
  EXPECT_EQ(planted.search().strength, 0.5);
}

TEST(Search, Gated) {
  Planted planted([](double) { return scores_of(0.5, 0.89); });
  const auto result = planted.search();
  EXPECT_EQ(result.status, "gated");
  EXPECT_EQ(result.strength, 0);
  EXPECT_EQ(result.cells.size(), 2U);
  EXPECT_EQ(result.edit.ids, (Ids{5, 9}));
}

TEST(Search, WhatErasesNothingIsNotCalledGated) {
  double efficacy = 0;
  Planted planted([&](double s) {
    auto scores = scores_of(0, s < 5 ? 1 : 0.5);
    scores.efficacy = s < 5 ? efficacy : 1;
    return scores;
  });
  for (const char* search : {"grid", "target"}) {
    planted.options.search = search;
    efficacy = 0;
    EXPECT_EQ(planted.search().status, "no_effect") << search;
    // It erases, but another figure is 0.
    efficacy = 0.1;
    EXPECT_EQ(planted.search().status, "gated") << search;
    EXPECT_EQ(planted.search().strength, 0) << search;
  }
}

TEST(Search, NothingToTry) {
  Planted planted([](double) { return scores_of(1); });
  planted.inputs.known = {false};
  EXPECT_EQ(planted.search().status, "unknown_to_model");
  planted.inputs.selected = [](std::int64_t) { return Selected{{0}, {}}; };
  const auto result = planted.search();
  EXPECT_EQ(result.status, "no_features");
  EXPECT_EQ(result.strength, 0);
  EXPECT_TRUE(result.edit.ids.empty());
  EXPECT_TRUE(planted.tried.empty());
}

TEST(Search, AnUnknownConceptIsEditedWhereAskedFor) {
  Planted planted([](double s) { return scores_of(1 - std::abs(s - 5) / 100); });
  planted.inputs.known = {false};
  EXPECT_EQ(planted.search().strength, 0);
  EXPECT_TRUE(planted.tried.empty());
  planted.options.unknown = "edit";
  const auto result = planted.search();
  EXPECT_EQ(result.status, "ok");
  EXPECT_EQ(result.strength, 5);
  EXPECT_EQ(planted.tried, planted.options.strengths);
}

TEST(Search, RecordsRoundTrip) {
  Planted planted([](double s) { return scores_of(s / 100, nan, 0.95); });
  planted.options.strengths = {1, 0.1};
  const auto result = planted.search();
  const auto back = unpack(pack(result));
  EXPECT_EQ(back.edit.width, 2);
  EXPECT_EQ(back.edit.ids, result.edit.ids);
  EXPECT_EQ(back.edit.values, result.edit.values);
  EXPECT_EQ(back.strength, result.strength);
  EXPECT_EQ(back.status, result.status);
  EXPECT_EQ(back.row_norms, result.row_norms);
  EXPECT_EQ(back.is_variant, (std::vector<std::uint8_t>{0, 0}));
  ASSERT_EQ(back.cells.size(), 2U);
  EXPECT_EQ(back.cells[0].strength, 0.1);
  EXPECT_TRUE(back.cells[1].passed);
  EXPECT_EQ(back.cells[1].scores.harmonic, 0.01);
  EXPECT_TRUE(std::isnan(back.cells[1].scores.general_left));
  EXPECT_TRUE(std::isnan(back.cells[1].scores.spreads[0].low));
}

// Scores that are all different: figure f is f + 1, from f + 0.5 to f + 1.5, of 10 f items.
CellScores numbered() {
  CellScores scores{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  for (std::size_t f = 0; f < told_figures; ++f) {
    const auto x = static_cast<double>(f);
    scores.spreads[f] = {x + 0.5, x + 1.5, static_cast<std::int64_t>(10 * f)};
  }
  return scores;
}

TEST(Scores, ARowHoldsEveryColumn) {
  const auto row = to_row(numbered());
  const auto columns = cell_figures();
  ASSERT_EQ(row.size(), columns.size());
  const auto value = [&](const std::string& column) {
    return row.at(static_cast<std::size_t>(std::ranges::find(columns, column) - columns.begin()));
  };
  EXPECT_EQ(value("efficacy"), 1);
  EXPECT_EQ(value("general_left"), 4);
  EXPECT_EQ(value("general_left_low"), 3.5);
  EXPECT_EQ(value("general_left_high"), 4.5);
  EXPECT_EQ(value("general_left_n"), 30);
  EXPECT_EQ(value("harmonic"), 7);
  EXPECT_EQ(value("harmonic_n"), 60);
  EXPECT_EQ(value("reused"), 8);
  EXPECT_EQ(value("measured"), 9);
  EXPECT_EQ(value("fluency"), 10);
  EXPECT_EQ(value("variety"), 11);
  EXPECT_EQ(to_row(from_row(row)), row);
}

TEST(Scores, JournalsCarryIntervalsAndDraws) {
  auto scores = numbered();
  scores.draws = {{0.5, 1, 2, 3, 4, 5, 6}, {0.25, nan, 0, 0, 0, 0, -1}};
  const auto back = unpack_scores(pack_scores(scores));
  EXPECT_EQ(to_row(back), to_row(scores));
  ASSERT_EQ(back.draws.size(), 2U);
  EXPECT_EQ(back.draws[0], scores.draws[0]);
  EXPECT_EQ(back.draws[1][0], 0.25);
  EXPECT_TRUE(std::isnan(back.draws[1][1]));
  EXPECT_EQ(back.draws[1][6], -1);
  EXPECT_TRUE(unpack_scores(pack_scores(numbered())).draws.empty());
  // A cell of a concept's search keeps its intervals, and needs its draws no more.
  ConceptResult result;
  result.cells.push_back({.strength = 2, .scores = scores, .passed = true});
  const auto cell = unpack(pack(result)).cells.at(0);
  EXPECT_EQ(to_row(cell.scores), to_row(scores));
  EXPECT_TRUE(cell.scores.draws.empty());
}

// ---- the choice on few items
// ----------------------------------------------------------------------

// A grid of 1, 2 and 5 with these harmonic means, and two resamples of each.
struct Noisy {
  Planted planted;
  Noisy(const std::vector<double>& harmonics, const std::vector<std::vector<double>>& draws)
      : planted([harmonics, draws](double s) {
          const std::size_t place = s < 2 ? 0 : s < 5 ? 1 : 2;
          auto scores = scores_of(harmonics[place]);
          for (const double harmonic : draws[place])
            scores.draws.push_back({nan, nan, nan, nan, nan, nan, harmonic});
          return scores;
        }) {
    planted.options.strengths = {1, 2, 5};
  }
};

TEST(Choice, TheGentlestWithinOneStandardErrorOfTheBest) {
  // Differences to the best: 0.3 and 0.5, so 0.1 sqrt(2) about their mean; 0 and 0.4.
  const std::vector<std::vector<double>> draws{{0.3, 0.3}, {0.6, 0.4}, {0.6, 0.8}};
  Noisy noisy({0.3, 0.5, 0.7}, draws);
  const auto result = noisy.planted.search();
  EXPECT_EQ(result.strength, 2);
  EXPECT_EQ(result.status, "ok");
  EXPECT_NEAR(result.cells[0].error, 0.1 * std::sqrt(2), 1e-12);
  EXPECT_NEAR(result.cells[1].error, 0.2 * std::sqrt(2), 1e-12);
  EXPECT_EQ(result.cells[2].error, 0);
  EXPECT_EQ(unpack(pack(result)).cells[1].error, result.cells[1].error);
  noisy.planted.options.choice = "best";
  EXPECT_EQ(noisy.planted.search().strength, 5);
}

TEST(Choice, NoiseThatBothShareIsNoReason) {
  // Each varies by 0.4, the difference not at all.
  EXPECT_EQ(Noisy({0.1, 0.5, 0.6}, {{0.1, 0.1}, {0.3, 0.7}, {0.4, 0.8}}).planted.search().strength,
            5);
}

TEST(Choice, OnlyAmongWhatMayBeChosen) {
  // The smallest is within the error, but erases nothing.
  EXPECT_EQ(Noisy({0, 0.5, 0.6}, {{0, 9}, {0.5, 0.5}, {0.6, 0.6}}).planted.search().strength, 5);
  // Without resamples the best is taken.
  EXPECT_EQ(Noisy({0.59, 0.595, 0.6}, {{}, {}, {}}).planted.search().strength, 5);
}

TEST(Choice, AnEditThatErasesTheNeighboursIsGated) {
  Planted planted([](double s) {
    auto scores = scores_of(s / 100);
    scores.similar_left = scores.specificity = s < 10 ? 0.5 : 0.4;
    return scores;
  });
  EXPECT_EQ(planted.search().strength, 5);
  planted.options.min_specificity = 0;
  EXPECT_EQ(planted.search().strength, 50);
  // What no question measures is no reason to leave a concept alone.
  CellScores unmeasured = scores_of(0.5);
  unmeasured.specificity = 0;
  EXPECT_FALSE(passes(unmeasured, Options{}));
  unmeasured.similar_left = unmeasured.specificity = nan;
  EXPECT_TRUE(passes(unmeasured, Options{}));
  // What is measured of it does.
  unmeasured.specificity = 0.4;
  EXPECT_FALSE(passes(unmeasured, Options{}));
}

TEST(Choice, EachPartOfCoherenceIsGated) {
  CellScores scores = scores_of(0.5, 1, 0.93);
  EXPECT_TRUE(passes(scores, Options{}));
  scores.fluency = 0.88;
  scores.variety = 0.99;
  EXPECT_FALSE(passes(scores, Options{}));
  std::swap(scores.fluency, scores.variety);
  EXPECT_FALSE(passes(scores, Options{}));
  scores.variety = 0.9;
  EXPECT_TRUE(passes(scores, Options{}));
}

TEST(Choice, ResamplesThatMeasureNothingAreLeftOut) {
  // As above with the first two draws; the third is of no use in any cell.
  const std::vector<std::vector<double>> draws{{0.3, 0.3, nan}, {0.6, 0.4, nan}, {0.6, 0.8, nan}};
  const auto result = Noisy({0.3, 0.5, 0.7}, draws).planted.search();
  EXPECT_EQ(result.strength, 2);
  EXPECT_NEAR(result.cells[0].error, 0.1 * std::sqrt(2), 1e-12);
}

TEST(Cells, TellWhatIsNotMeasured) {
  Cell complete;
  complete.scores = scores_of(0.5);
  EXPECT_FALSE(is_unmeasured(complete));
  complete.scores.similar_left = nan;
  EXPECT_TRUE(is_unmeasured(complete));
  // It ended at the gate of the general questions: the neighbours were not asked.
  complete.scores.specificity = nan;
  EXPECT_FALSE(is_unmeasured(complete));
  complete.scores.general_left = nan;
  EXPECT_TRUE(is_unmeasured(complete));
}

}  // namespace
}  // namespace quench::erasure
