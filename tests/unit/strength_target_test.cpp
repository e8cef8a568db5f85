#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>

#include "tests/unit/planted_search.hpp"

namespace quench::erasure {
namespace {

using namespace erasure::testing;
using Strengths = std::vector<double>;
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

// ------------------------------------------------------------------------

using Curve = std::function<double(double)>;

double one(double) { return 1; }

// from, from x factor, ... up to an end.
Strengths geometric(double from, double end, double factor) {
  Strengths all{from};
  while (all.back() * factor < end) all.push_back(all.back() * factor);
  return all;
}

// Rises from 0 to `top`, half of it at `middle`.
Curve logistic(double middle, double slope, double top = 1) {
  return [=](double s) { return top / (1 + std::pow(middle / s, slope)); };
}
Curve step(double at, double before = 0.1, double after = 1) {
  return [=](double s) { return s >= at ? after : before; };
}
// A curve with bumps of a twentieth, the same in every run.
Curve bumpy(const Curve& smooth, double phase) {
  return [=](double s) {
    return std::max(0.01, smooth(s) + 0.05 * std::sin(40 * std::log(s) + phase));
  };
}

// A search for an efficacy of 0.8 from 0.5 to 50.
struct Aimed : Planted {
  explicit Aimed(const Curve& efficacy, const Curve& specificity = one, const Curve& general = one)
      : Planted([=](double s) {
          auto scores = scores_of(0, general(s));
          scores.efficacy = efficacy(s);
          scores.similar_left = scores.specificity = specificity(s);
          const double mean = 3 / (1 / efficacy(s) + 1 / specificity(s) + 1);
          scores.harmonic = std::isnan(mean) ? 0 : mean;
          return scores;
        }) {
    options.search = "target";
  }
};

// Whether the strength reaches the target, and a step (to three digits) below does not.
void expect_smallest(const ConceptResult& result, const Curve& efficacy, const Options& options) {
  EXPECT_EQ(result.status, "ok");
  EXPECT_GE(efficacy(result.strength), options.target_efficacy);
  if (result.strength > 0.5) {
    EXPECT_LT(efficacy(result.strength / (1 + options.tolerance) / 1.01), options.target_efficacy)
        << result.strength;
  }
}

TEST(Target, FindsTheSmallestOfSmoothCurvesInFewCells) {
  std::size_t cells = 0, searches = 0;
  for (const double middle : geometric(0.1, 25, 1.07)) {
    for (const double slope : {2.0, 4.0, 8.0}) {
      const auto efficacy = logistic(middle, slope);
      Aimed aimed(efficacy);
      const auto result = aimed.search();
      expect_smallest(result, efficacy, aimed.options);
      ASSERT_EQ(result.cells.size(), aimed.tried.size());
      EXPECT_LE(result.cells.size(), 8U);
      cells += result.cells.size();
      ++searches;
    }
  }
  EXPECT_EQ(most_cells(Options{.search = "target"}), 8);
  // Bisection takes 5.6.
  EXPECT_LT(static_cast<double>(cells) / static_cast<double>(searches), 5);
}

TEST(Target, NeverTakesMoreThanItsBound) {
  // A step tells an interpolation nothing, and draws it to either side.
  const std::vector<std::pair<double, double>> levels{{0.1, 1}, {0.79, 1}, {0.01, 0.81}};
  for (const double tolerance : {0.03, 0.1, 0.5, 2.0, 200.0}) {
    const auto places =
        static_cast<std::uint64_t>(std::ceil(std::log(100) / std::log1p(tolerance)));
    for (const double at : geometric(0.4, 50, 1.02)) {
      for (const auto& [before, after] : levels) {
        const auto efficacy = step(at, before, after);
        Aimed aimed(efficacy);
        aimed.options.tolerance = tolerance;
        aimed.options.evaluations = 100;
        const auto result = aimed.search();
        expect_smallest(result, efficacy, aimed.options);
        EXPECT_LE(std::ssize(result.cells), 3 + std::bit_width((places + 1) / 2 - 1))
            << tolerance << " " << at << " " << before;
      }
    }
  }
}

TEST(Target, TheMiddleFirstThenTheEndThatIsOpen) {
  Aimed low(logistic(0.01, 2)), high(logistic(1000, 2));
  EXPECT_EQ(low.search().strength, 0.5);
  EXPECT_EQ(low.tried, (Strengths{4.77, 0.5}));
  EXPECT_EQ(high.search().status, "below_target");
  EXPECT_EQ(Strengths(high.tried.begin(), high.tried.begin() + 2), (Strengths{4.77, 50}));
  Aimed single(logistic(1, 2));
  single.options.strengths = {7};
  EXPECT_EQ(single.search().strength, 7);
  EXPECT_EQ(single.tried, (Strengths{7}));
  Aimed near(step(1.05));
  near.options.strengths = {1.05, 1};
  EXPECT_EQ(near.search().strength, 1.05);
  EXPECT_EQ(near.tried, (Strengths{1, 1.05}));
}

TEST(Target, WhatSaturatesBelowIsEditedAndToldApart) {
  Aimed aimed(logistic(2, 4, 0.6));
  const auto result = aimed.search();
  EXPECT_EQ(result.status, "below_target");
  EXPECT_EQ(result.strength, 50);
  EXPECT_EQ(aimed.tried, (Strengths{4.77, 50, 1.54, 14.7}));
  // What cannot reach it need not do harm in vain.
  Aimed harmful(logistic(2, 4, 0.6), [](double s) { return s < 10 ? 1 : 0.6; });
  EXPECT_EQ(harmful.search().strength, 4.77);
}

TEST(Target, APeakBelowTheEndIsFound) {
  // Efficacy is above the target from 1.4 to 3 alone.
  const auto efficacy = [](double s) { return s < 1.4 ? 0.3 : s < 3 ? 0.85 : 0.6; };
  Aimed aimed(efficacy);
  const auto result = aimed.search();
  EXPECT_EQ(result.status, "ok");
  EXPECT_LE(result.cells.size(), 8U);
  EXPECT_GE(result.strength, 1.4);
  EXPECT_LT(result.strength, 1.4 * 1.1 * 1.01);
}

TEST(Target, WithinTheGatesAsFarAsTheyLet) {
  // The target is reached at 12 only, and above 6 the neighbours go.
  const Curve specificity = [](double s) { return s > 6 ? 0.4 : 0.9; };
  Aimed aimed(logistic(6, 2), specificity);
  const auto result = aimed.search();
  EXPECT_EQ(result.status, "below_target");
  EXPECT_LE(result.strength, 6);
  EXPECT_GT(result.strength * 1.1 * 1.01, 6);
  EXPECT_LE(std::ssize(result.cells), most_cells(aimed.options));
  // Nothing at all passes.
  Aimed hopeless(logistic(6, 2), [](double) { return 0.4; });
  const auto none = hopeless.search();
  EXPECT_EQ(none.status, "gated");
  EXPECT_EQ(none.strength, 0);
  EXPECT_EQ(hopeless.tried, (Strengths{4.77, 0.5}));
}

TEST(Target, NoiseChangesNeitherTheBoundNorWhatIsChosen) {
  for (const double phase : {0.0, 0.7, 1.3, 2.1, 2.9, 3.4, 4.2, 5.0, 5.7}) {
    for (const double middle : geometric(0.5, 20, 1.5)) {
      Aimed aimed(bumpy(logistic(middle, 1.5), phase),
                  bumpy([](double) { return 0.52; }, 2 * phase));
      const auto result = aimed.search();
      EXPECT_LE(std::ssize(result.cells), most_cells(aimed.options));
      double smallest = 0, most = 0, best = 0;
      for (const auto& cell : result.cells) {
        if (cell.scores.specificity < 0.5) continue;
        if (cell.scores.efficacy >= 0.8 && (smallest == 0 || cell.strength < smallest))
          smallest = cell.strength;
        if (cell.scores.harmonic > most) {
          most = cell.scores.harmonic;
          best = cell.strength;
        }
      }
      const bool any = most > 0, reached = smallest > 0;
      EXPECT_EQ(result.strength, reached ? smallest : best);
      EXPECT_EQ(result.status, reached ? "ok" : any ? "below_target" : "gated");
    }
  }
}

TEST(Target, RoundingOfTheScoresDecidesNothing) {
  for (const double middle : geometric(0.3, 20, 1.3)) {
    const auto efficacy = logistic(middle, 3);
    Aimed plain(efficacy), rounded([=](double s) { return efficacy(s) + 1e-9; });
    EXPECT_EQ(plain.search().strength, rounded.search().strength);
    EXPECT_EQ(plain.tried, rounded.tried);
  }
}

TEST(Target, CellsThatEndAtAGateSayWhichWayToGo) {
  // General knowledge ends at 20; nothing else is measured there.
  const auto efficacy = logistic(4, 3);
  Aimed aimed([=](double s) { return s > 20 ? nan : efficacy(s); },
              [](double s) { return s > 20 ? nan : 0.9; },
              [](double s) { return s > 20 ? 0.5 : 1; });
  const auto result = aimed.search();
  expect_smallest(result, efficacy, aimed.options);
  EXPECT_LE(result.cells.size(), 6U);
  // Too much is left below 5: efficacy is measured there, and nothing after it.
  Planted weak([=](double s) {
    auto scores = scores_of(s < 5 ? 0 : 0.5);
    scores.efficacy = efficacy(s);
    if (s < 5) scores.specificity = scores.similar_left = scores.coherence = nan;
    scores.similar_left = 1;
    return scores;
  });
  weak.options.search = "target";
  expect_smallest(weak.search(), efficacy, weak.options);
}

TEST(Target, EndsWithItsBudget) {
  Aimed aimed(logistic(2, 4));
  aimed.options.evaluations = 3;
  const auto result = aimed.search();
  EXPECT_EQ(result.cells.size(), 3U);
  EXPECT_EQ(result.status, "ok");
  EXPECT_EQ(most_cells(aimed.options), 3);
  EXPECT_EQ(most_cells(Options{}), 7);
}

}  // namespace
}  // namespace quench::erasure
