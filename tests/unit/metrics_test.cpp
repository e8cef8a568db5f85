#include "stages/evaluation/metrics.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <set>

#include "cluster/error.hpp"
#include "cluster/random.hpp"
#include "stages/evaluation/evaluation.hpp"
#include "tests/unit/answers.hpp"

namespace quench::evaluation {
namespace {

using namespace testing;

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

double harmonic(std::initializer_list<double> values) {
  return harmonic_mean(std::span(values.begin(), values.size()));
}

TEST(HarmonicMean, Rules) {
  EXPECT_DOUBLE_EQ(harmonic({0.5, 1}), 2 / (2.0 + 1));
  EXPECT_DOUBLE_EQ(harmonic({0.2, 0.5, 1}), 3 / 8.0);
  EXPECT_DOUBLE_EQ(harmonic({0.3}), 0.3);
  EXPECT_EQ(harmonic({0.5, 0}), 0);
  EXPECT_EQ(harmonic({0.5, -0.1}), 0);
  EXPECT_EQ(harmonic({nan, 0.5}), 0);
  EXPECT_EQ(harmonic({0.5, infinity}), 0);
}

// The 24 published rows (methods.md, section 10) with the base accuracies that they imply: accuracy
// on the own questions, what is left of MMLU, of own and of similar-domain questions, and
// coherence; then efficacy, specificity and the two harmonic means that were published.
struct PublishedRow {
  double base, chance, accuracy;
  double general, own, similar, coherence;
  double efficacy, specificity, harmonic, harmonic_all;
};
constexpr std::array<PublishedRow, 24> published = {{
    {.68, 0, .18, 1, .265, .805, .990, .735, .892, .806, .859},       // Gemma, PISCES, Golf
    {.74, 0, .16, 1, .216, .841, .993, .784, .914, .844, .888},       // Gemma, PISCES, Ancient Rome
    {.48, 0, .22, 1, .458, .400, .998, .542, .571, .556, .652},       // Gemma, PISCES, Uranium
    {.8, .25, .32, .894, .127, .538, 1, .873, .672, .759, .826},      // Gemma, RMU, Golf
    {.78, .25, .56, .945, .585, .803, 1, .415, .868, .562, .658},     // Gemma, RMU, Ancient Rome
    {.6, .25, .32, .901, .200, .510, .998, .800, .651, .718, .792},   // Gemma, RMU, Uranium
    {.8, .25, .02, 1, 0, .262, .995, 1, .415, .586, .679},            // Gemma, CRISP, Golf
    {.78, .25, .38, .973, .245, .410, .995, .755, .577, .654, .738},  // Gemma, CRISP, Ancient Rome
    {.6, .25, .24, .942, 0, .592, 1, 1, .727, .842, .889},            // Gemma, CRISP, Uranium
    {.8, .25, .34, .654, .164, .169, .990, .836, .269, .407, .506},   // Gemma, SNMF, Golf
    {.78, .25, .56, .959, .585, .803, .997, .415, .874, .563, .658},  // Gemma, SNMF, Ancient Rome
    {.6, .25, .32, .651, .200, .388, .997, .800, .486, .605, .696},   // Gemma, SNMF, Uranium
    {.66, 0, .08, 1, .121, .943, 1, .879, .971, .922, .947},          // Llama, PISCES, Golf
    {.9, 0, .06, .905, .067, .930, 1, .933, .917, .925, .949},        // Llama, PISCES, Ancient Rome
    {.68, 0, .10, .985, .147, .632, .950, .853, .770, .809, .851},    // Llama, PISCES, Uranium
    {.88, .25, .44, .955, .302, .662, .995, .698, .782, .738, .807},  // Llama, RMU, Golf
    {.94, .25, .22, .973, 0, .785, .997, 1, .869, .930, .951},        // Llama, RMU, Ancient Rome
    {.8, .25, .20, .925, 0, .814, .991, 1, .866, .928, .948},         // Llama, RMU, Uranium
    {.88, .25, .32, .955, .111, .877, .998, .889, .914, .901, .932},  // Llama, CRISP, Golf
    {.94, .25, .44, .728, .275, .938, .998, .725, .820, .769, .833},  // Llama, CRISP, Ancient Rome
    {.8, .25, .38, .925, .236, .721, .998, .764, .810, .786, .846},   // Llama, CRISP, Uranium
    {.88, .25, .36, .810, .175, .508, .995, .825, .624, .711, .786},  // Llama, SNMF, Golf
    {.94, .25, .40, .795, .217, .692, .998, .783, .740, .761, .826},  // Llama, SNMF, Ancient Rome
    {.8, .25, .16, .850, 0, .442, .974, 1, .581, .735, .801},         // Llama, SNMF, Uranium
}};

TEST(Aggregates, AllPublishedRows) {
  constexpr double rounding = 1.5e-3;  // of three published digits
  for (const auto& row : published) {
    const double own = fraction_left(row.accuracy, row.base, row.chance, true);
    EXPECT_NEAR(own, row.own, rounding);
    EXPECT_NEAR(fraction_left(row.accuracy, row.base, row.chance), row.own, rounding);
    const double efficacy = 1 - own, specificity = harmonic({row.general, row.similar});
    EXPECT_NEAR(efficacy, row.efficacy, rounding);
    EXPECT_NEAR(specificity, row.specificity, rounding);
    EXPECT_NEAR(harmonic({efficacy, specificity}), row.harmonic, rounding);
    EXPECT_NEAR(harmonic({efficacy, specificity, row.coherence}), row.harmonic_all, rounding);
  }
}

TEST(FractionLeft, GuardedAndNot) {
  EXPECT_DOUBLE_EQ(fraction_left(0.5, 0.75, 0.25), 0.5);
  EXPECT_EQ(fraction_left(0.1, 0.75, 0.25), 0);
  EXPECT_EQ(fraction_left(0.9, 0.75, 0.25), 1);
  EXPECT_TRUE(std::isnan(fraction_left(0.5, 0.25, 0.25)));
  EXPECT_TRUE(std::isnan(fraction_left(0.2, 0.2, 0.25)));
  EXPECT_EQ(fraction_left(0.5, 0.25, 0.25, true), 0);             // the reference: b = chance
  EXPECT_NEAR(fraction_left(0.22, 0.2, 0.25, true), 0.6, 1e-12);  // below it: a meaningless sign
  EXPECT_TRUE(std::isnan(fraction_left(0.5, 0, 0, true)));        // open: b <= 0
}

TEST(Choice, RightAndMargin) {
  Probe probe;
  probe.correct = 1;
  EXPECT_EQ(tasks::share_right(probe, said({-3, -1, -2, -4})), 1);
  EXPECT_DOUBLE_EQ(tasks::margin(probe, said({-3, -1, -2, -4})), -1 + 3);
  EXPECT_EQ(tasks::share_right(probe, said({-1, -2, -2, -6})), 0);
  EXPECT_DOUBLE_EQ(tasks::margin(probe, said({-1, -2, -2, -6})), -2 + 3);  // wrong, margin above 0
}

TEST(Choice, EqualOptionsShareTheRight) {
  for (int correct = 0; correct < 4; ++correct) {
    Probe probe;
    probe.correct = correct;
    EXPECT_EQ(tasks::share_right(probe, said({-2, -2, -2, -2})), 0.25);
    EXPECT_EQ(tasks::share_right(probe, said({-1, -3, -1, -4})), correct % 2 == 0 ? 0.5 : 0);
  }
}

void add_questions(Answers& answers) {
  using enum Subset;
  answers.add_choice(own, 2, 1);
  answers.add_choice(own, 1, -1);
  answers.add_choice(own, 1, 1);
  answers.add_choice(own, -1, -0.5f);
  answers.add_choice(similar, 1, 1, true);
  answers.add_choice(similar, 1, 0.5f);
  answers.add_choice(general, 2, 1.5f);
  answers.add_choice(general, 2, -0.5f);
}

// Fluency falls from e^2 to e^3 a token, repetition rises from 0 to a quarter.
void add_instructions(Answers& answers) {
  answers.add(ProbeKind::instruction, Subset::general, {20, 10, 0}, {30, 10, 0.5f});
  answers.add(ProbeKind::instruction, Subset::general, {20, 10, 0}, {30, 10, 0});
}

Scores summary(const Answers& answers, Objective objective = Objective::margin,
               std::int64_t resamples = 0, const std::string& purpose = "test") {
  Rules rules;
  rules.objective = objective;
  return summarise(answers.pairs(), answers.split, rules, resamples, purpose);
}

TEST(Summarise, MarginsByHand) {
  Answers answers;
  add_questions(answers);
  add_instructions(answers);
  const auto s = summary(answers);
  const double own = 0.125 / 0.75, similar = 0.75, general = 0.25;
  EXPECT_NEAR(s["own_left"].value, own, 1e-7);
  EXPECT_NEAR(s["similar_left"].value, similar, 1e-7);
  EXPECT_NEAR(s["general_left"].value, general, 1e-7);
  EXPECT_NEAR(s["efficacy"].value, 1 - own, 1e-7);
  const double specificity = 2 / (1 / similar + 1 / general);
  EXPECT_NEAR(s["specificity"].value, specificity, 1e-7);
  const double coherence = 2 / (std::exp(1) + 1 / 0.75);
  EXPECT_NEAR(s["coherence"].value, coherence, 1e-7);
  EXPECT_NEAR(s["harmonic"].value, 2 / (1 / (1 - own) + 1 / specificity), 1e-7);
  EXPECT_NEAR(s["harmonic_all"].value, 3 / (1 / (1 - own) + 1 / specificity + 1 / coherence), 1e-7);
  EXPECT_NEAR(s["base_own_margin"].value, 0.75, 1e-7);
  EXPECT_NEAR(s["own_margin"].value, 0.125, 1e-7);
  EXPECT_EQ(s["base_own_accuracy"].value, 0.75);
  EXPECT_EQ(s["own_accuracy"].value, 0.5);
  EXPECT_EQ(s.reused, 1);
  EXPECT_EQ(s.measured, 9);
}

TEST(Summarise, AccuraciesByHand) {
  Answers answers;
  add_questions(answers);
  const auto s = summary(answers, Objective::accuracy);
  EXPECT_DOUBLE_EQ(s["own_left"].value, (0.5 - 0.25) / (0.75 - 0.25));
  EXPECT_DOUBLE_EQ(s["similar_left"].value, 1);
  EXPECT_DOUBLE_EQ(s["general_left"].value, (0.5 - 0.25) / (1 - 0.25));
  EXPECT_DOUBLE_EQ(s["specificity"].value, 0.5);
  EXPECT_DOUBLE_EQ(s["harmonic"].value, 0.5);
  EXPECT_DOUBLE_EQ(s["harmonic_all"].value, s["harmonic"].value);  // no instructions
  EXPECT_TRUE(std::isnan(s["coherence"].value));
}

TEST(Summarise, OtherKinds) {
  Answers answers;
  add_questions(answers);
  answers.add(ProbeKind::open, Subset::own, {1}, {0});
  answers.add(ProbeKind::open, Subset::own, {1}, {1});
  answers.add(ProbeKind::open, Subset::similar, {0}, {1});
  answers.add(ProbeKind::letter, Subset::general, {-9, 0, -9, -9}, {0, -9, -9, -9});
  answers.add(ProbeKind::text, Subset::own, {10, 5}, {20, 5});
  answers.add(ProbeKind::text, Subset::own, {20, 25}, {10, 5});
  answers.add(ProbeKind::text, Subset::general, {4, 4}, {12, 4});
  const auto s = summary(answers);
  EXPECT_EQ(s["base_own_open_accuracy"].value, 1);
  EXPECT_EQ(s["own_open_accuracy"].value, 0.5);
  EXPECT_EQ(s["similar_open_accuracy"].value, 1);
  EXPECT_TRUE(std::isnan(s["own_letter_accuracy"].value));
  EXPECT_EQ(s["base_general_letter_accuracy"].value + s["general_letter_accuracy"].value, 1);
  EXPECT_NEAR(s["base_own_perplexity"].value, std::exp(1), 1e-9);
  EXPECT_NEAR(s["own_perplexity"].value, std::exp(3), 1e-9);
  EXPECT_NEAR(s["base_general_perplexity"].value, std::exp(1), 1e-9);
  EXPECT_NEAR(s["general_perplexity"].value, std::exp(3), 1e-9);
}

TEST(Summarise, OneSplitOnly) {
  Answers answers;
  answers.split = Split::train;
  answers.add_choice(Subset::own, 1, 1);
  answers.split = Split::test;
  answers.add_choice(Subset::own, 1, 0.25f);
  EXPECT_NEAR(summary(answers)["own_left"].value, 0.25, 1e-7);
  EXPECT_EQ(summary(answers).measured, 1);
  answers.split = Split::train;
  EXPECT_NEAR(summary(answers)["own_left"].value, 1, 1e-7);
}

TEST(Summarise, ClipsShares) {
  Answers answers;
  answers.add_choice(Subset::own, 1, -3);
  answers.add_choice(Subset::similar, 1, 2);
  answers.add(ProbeKind::instruction, Subset::general, {20, 10, 0.5f}, {10, 10, 0});
  const auto s = summary(answers);
  EXPECT_EQ(s["own_left"].value, 0);
  EXPECT_EQ(s["efficacy"].value, 1);
  EXPECT_EQ(s["similar_left"].value, 1);
  EXPECT_EQ(s["coherence"].value, 1);
}

TEST(Summarise, NothingIsLeftOfNothing) {
  Answers answers;
  answers.add_choice(Subset::own, -1, 1);  // wrong before, so accuracy is below chance
  answers.add_choice(Subset::similar, 1, 1);
  for (const auto objective : {Objective::margin, Objective::accuracy}) {
    const auto s = summary(answers, objective);
    EXPECT_TRUE(std::isnan(s["own_left"].value));
    EXPECT_TRUE(std::isnan(s["efficacy"].value));
    EXPECT_TRUE(std::isnan(s["general_left"].value));  // no questions at all
    EXPECT_EQ(s["specificity"].value, 1);              // the measurable part alone
    EXPECT_TRUE(std::isnan(s["harmonic"].value));
  }
}

TEST(Summarise, WhatCannotBeMeasuredIsLeftOut) {
  Answers answers;
  answers.add_choice(Subset::own, 1, 0.5f);
  answers.add_choice(Subset::similar, 1, 0.5f);
  answers.add_choice(Subset::general, -1, -1);  // the untouched model knows no better
  add_instructions(answers);
  const auto s = summary(answers);
  EXPECT_TRUE(std::isnan(s["general_left"].value));
  EXPECT_NEAR(s["specificity"].value, 0.5, 1e-7);
  EXPECT_EQ(s["specificity"].n, 1);
  EXPECT_NEAR(s["harmonic"].value, 0.5, 1e-7);
  EXPECT_NEAR(s["harmonic_all"].value, 3 / (2 + 2 + 1 / s["coherence"].value), 1e-7);
  EXPECT_EQ(s["harmonic"].n, 2);
  Answers alone;
  alone.add_choice(Subset::own, 1, 0.25f);
  alone.add_choice(Subset::similar, -1, 1);
  const auto t = summary(alone);
  EXPECT_TRUE(std::isnan(t["specificity"].value));
  EXPECT_NEAR(t["harmonic"].value, 0.75, 1e-7);
  EXPECT_NEAR(t["harmonic_all"].value, 0.75, 1e-7);
  // The reference's division keeps its rule: 0 where a part cannot be computed.
  Rules rules;
  rules.unguarded_fraction = true;
  EXPECT_EQ(summarise(alone.pairs(), Split::test, rules, 0, "test")["harmonic"].value, 0);
}

TEST(Summarise, ResamplesAreOfTheSameParts) {
  Answers answers;
  answers.add_choice(Subset::own, 1, 0.5f);
  answers.add_choice(Subset::general, 1, 1);
  answers.add_choice(Subset::similar, 4, 1);  // a quarter is left where it is drawn
  answers.add_choice(Subset::similar, -1, -1);
  const Sample sample(answers.pairs(), answers.split, Rules{}, "test");
  EXPECT_NEAR(sample.figures()[figure_index("similar_left")], 0, 1e-7);
  int unmeasured = 0;
  for (int draw = 0; draw < 50; ++draw) {
    const auto row = sample.resampled(draw);
    const bool is_measured = !std::isnan(row[figure_index("similar_left")]);
    unmeasured += is_measured ? 0 : 1;
    // Not what is left of the general questions alone, which would be 1.
    EXPECT_EQ(std::isnan(row[figure_index("specificity")]), !is_measured);
    EXPECT_EQ(std::isnan(row[figure_index("harmonic_all")]), !is_measured);
  }
  EXPECT_GT(unmeasured, 0);
  EXPECT_LT(unmeasured, 50);
}

TEST(Summarise, EmptyAnswersLowerCoherence) {
  Answers answers;
  const auto s_of = [](std::vector<float> now) {
    Answers two;
    two.add(ProbeKind::instruction, Subset::general, {20, 10, 0}, {20, 10, 0});
    two.add(ProbeKind::instruction, Subset::general, {20, 10, 0}, std::move(now));
    return summary(two)["coherence"].value;
  };
  EXPECT_DOUBLE_EQ(s_of({20, 10, 0}), 1);
  EXPECT_DOUBLE_EQ(s_of({0, 0, 1}), 0.5);  // half of the answers, half of non-repetition
  answers.add(ProbeKind::instruction, Subset::general, {20, 10, 0}, {0, 0, 1});
  EXPECT_EQ(summary(answers)["coherence"].value, 0);
}

TEST(Summarise, AFigureCountsItsOwnItems) {
  Answers answers;
  answers.add_choice(Subset::own, 1, 0.5f);
  answers.add_choice(Subset::similar, 1, 1);
  answers.add(ProbeKind::instruction, Subset::general, {20, 10, 0}, {20, 10, 0});
  answers.add(ProbeKind::instruction, Subset::general, {20, 10, 0}, {0, 0, 1});  // says nothing
  const auto s = summary(answers);
  EXPECT_EQ(s["base_general_answer_perplexity"].n, 2);
  EXPECT_EQ(s["general_answer_perplexity"].n, 1);
  EXPECT_EQ(s["harmonic_all"].n, 4);
  Answers silent;  // the base model answers no instruction: coherence is no part of it
  silent.add_choice(Subset::own, 1, 0.5f);
  silent.add_choice(Subset::similar, 1, 1);
  silent.add(ProbeKind::instruction, Subset::general, {0, 0, 1}, {20, 10, 0});
  EXPECT_EQ(summary(silent)["harmonic_all"].n, 2);
}

TEST(Summarise, PartsOfCoherence) {
  Answers answers;
  add_instructions(answers);
  const auto parts = [](const Answers& of) {
    return coherence_parts(Sample(of.pairs(), of.split, Rules{}, "test").figures());
  };
  EXPECT_NEAR(parts(answers).fluency, std::exp(-1), 1e-6);
  EXPECT_NEAR(parts(answers).variety, 0.75, 1e-6);
  Answers silent, stuck;
  silent.add(ProbeKind::instruction, Subset::general, {0, 0, 1}, {20, 10, 0});
  EXPECT_TRUE(std::isnan(parts(silent).fluency));
  EXPECT_TRUE(std::isnan(summary(silent)["coherence"].value));
  stuck.add(ProbeKind::instruction, Subset::general, {20, 10, 1}, {20, 10, 1});
  EXPECT_TRUE(std::isnan(parts(stuck).variety));
  EXPECT_DOUBLE_EQ(summary(stuck)["coherence"].value, 1);  // fluency alone
}

TEST(Summarise, CoherenceByAJudge) {
  const auto none = std::numeric_limits<float>::quiet_NaN();
  Answers answers;
  add_instructions(answers);
  const auto add = [&](float related, float now_related, float fluent, float now_fluent) {
    answers.add(ProbeKind::instruction, Subset::general, {20, 10, 0, 1, 1, related, fluent},
                {20, 10, 0.5, 1, 1, now_related, now_fluent});
  };
  add(2, 1, 1, 2);
  add(2, 2, 2, 1);
  add(none, none, 2, 1);  // no verdict on relatedness
  Rules rules;
  rules.judged = true;
  const Sample judged(answers.pairs(), answers.split, rules, "test");
  const auto figures = judged.figures();
  EXPECT_DOUBLE_EQ(figures[figure_index("general_relatedness")], 1.5);
  EXPECT_DOUBLE_EQ(figures[figure_index("base_general_fluency")], 5 / 3.0);
  EXPECT_DOUBLE_EQ(figures[figure_index("coherence")], harmonic_mean(std::array{3 / 4.0, 4 / 5.0}));
  EXPECT_EQ(judged.counts()[figure_index("coherence")], 3);
  for (int draw = 0; draw < 50; ++draw) {  // without ratings a resample has no coherence by them
    const auto row = judged.resampled(draw);
    EXPECT_EQ(std::isnan(row[figure_index("coherence")]),
              std::isnan(row[figure_index("general_relatedness")]));
  }
  // Rules without a judge do not look at ratings.
  const Sample other(answers.pairs(), answers.split, Rules{}, "test");
  EXPECT_NE(other.figures()[figure_index("coherence")], figures[figure_index("coherence")]);
}

// Own questions whose edited margins scatter about a half of the base's.
Answers scattered(std::uint64_t count) {
  const cluster::KeyedRandom random(3, "scattered");
  Answers answers;
  for (std::uint64_t i = 0; i < count; ++i) {
    answers.add_choice(Subset::own, 1, static_cast<float>(0.5 + 0.4 * random.normal(i)));
  }
  return answers;
}

TEST(Bootstrap, IntervalsOverItems) {
  const auto few = summary(scattered(25), Objective::margin, 500)["own_left"];
  const auto many = summary(scattered(400), Objective::margin, 500)["own_left"];
  for (const auto& e : {few, many}) {
    EXPECT_LE(e.interval.low, e.value);
    EXPECT_GE(e.interval.high, e.value);
    EXPECT_NEAR(e.value, 0.5, 0.2);
  }
  // 95% of a mean of normal numbers is 2 x 1.96 x 0.4 / sqrt(n).
  EXPECT_NEAR(width(few), 0.31, 0.1);
  EXPECT_NEAR(width(many), 0.078, 0.02);
}

// So that edits alone, whose answers to general questions are not stored, can be compared.
TEST(Bootstrap, OwnAndSimilarFiguresNeedNoGeneralItems) {
  Answers own, whole;
  for (auto* answers : {&own, &whole}) {
    for (int i = 0; i < 10; ++i) {
      answers->add_choice(Subset::own, 1, 0.1f * static_cast<float>(i));
      answers->add_choice(Subset::similar, 1, 1 - 0.05f * static_cast<float>(i));
    }
  }
  whole.add_choice(Subset::general, 1, 0.5f);
  const auto a = summary(own, Objective::margin, 100), b = summary(whole, Objective::margin, 100);
  for (const char* name : {"own_left", "similar_left", "efficacy", "own_margin", "own_accuracy"}) {
    EXPECT_EQ(a[name].value, b[name].value) << name;
    EXPECT_EQ(a[name].interval.low, b[name].interval.low) << name;
    EXPECT_EQ(a[name].interval.high, b[name].interval.high) << name;
  }
  EXPECT_NE(a["specificity"].value, b["specificity"].value);  // it is not of these alone
}

TEST(Bootstrap, KeyedByPurpose) {
  const auto answers = scattered(30);
  const auto interval_of = [&](const std::string& purpose) {
    const auto e = summary(answers, Objective::margin, 200, purpose)["own_left"];
    return std::pair(e.interval.low, e.interval.high);
  };
  EXPECT_EQ(interval_of("a"), interval_of("a"));
  EXPECT_NE(interval_of("a"), interval_of("b"));
  const auto plain = summary(answers, Objective::margin, 0)["own_left"];
  EXPECT_EQ(plain.interval.low, plain.value);
  EXPECT_EQ(plain.interval.high, plain.value);
}

TEST(BaseMargin, OwnChoicesOfBothSplits) {
  Answers answers;
  answers.split = Split::train;
  answers.add_choice(Subset::own, 3, 9);
  answers.split = Split::test;
  answers.add_choice(Subset::own, 1, 9);
  answers.add_choice(Subset::similar, 70, 9);
  answers.add(ProbeKind::open, Subset::own, {1}, {1});
  const auto e = base_margin(answers.pairs(), 500, "test");
  EXPECT_NEAR(e.value, 2, 1e-6);
  EXPECT_NEAR(e.interval.low, 1, 1e-6);
  EXPECT_NEAR(e.interval.high, 3, 1e-6);
  EXPECT_TRUE(std::isnan(base_margin({}, 10, "test").value));
}

TEST(Form, DecidesWhatIsLeft) {
  Answers answers;
  answers.add_choice(Subset::own, 1, -1);
  answers.add(ProbeKind::letter, Subset::own, {0, -9, -9, -9}, {0, -9, -9, -9});
  answers.add(ProbeKind::letter, Subset::own, {-9, 0, -9, -9}, {-9, 0, -9, -9});
  answers.add(ProbeKind::letter, Subset::general, {0, -9, -9, -9}, {0, -9, -9, -9});
  answers.add(ProbeKind::letter, Subset::general, {-9, 0, -9, -9}, {-9, 0, -9, -9});
  answers.add(ProbeKind::open, Subset::own, {1}, {0});
  answers.add(ProbeKind::open, Subset::own, {1}, {1});
  answers.add(ProbeKind::open, Subset::similar, {1}, {1});
  Rules rules;
  rules.form = Form::open;  // by accuracy, whatever the objective says
  const auto s = summarise(answers.pairs(), Split::test, rules, 0, "test");
  EXPECT_DOUBLE_EQ(s["own_left"].value, 0.5);
  EXPECT_EQ(s["own_left"].n, 2);
  EXPECT_DOUBLE_EQ(s["similar_left"].value, 1);
  EXPECT_DOUBLE_EQ(s["open_efficacy"].value, s["efficacy"].value);
  EXPECT_EQ(s["specificity"].n, 1 + 2);
  rules.form = Form::choice;
  const auto c = summarise(answers.pairs(), Split::test, rules, 0, "test");
  EXPECT_EQ(c["own_left"].value, 0);
  EXPECT_DOUBLE_EQ(c["open_efficacy"].value, 0.5);
}

TEST(Letters, InvalidOnesAreGuessesOrWrong) {
  Answers answers;
  answers.add(ProbeKind::letter, Subset::own, {0}, {-1});
  answers.add(ProbeKind::letter, Subset::own, {0}, {0});
  for (const bool wrong : {false, true}) {
    Rules rules;
    rules.reading.invalid_is_wrong = wrong;
    const auto s = summarise(answers.pairs(), Split::test, rules, 0, "test");
    EXPECT_DOUBLE_EQ(s["own_letter_accuracy"].value, (wrong ? 0 : 0.25) / 2 + 0.5);
    EXPECT_EQ(s["own_letter_valid"].value, 0.5);
    EXPECT_EQ(s["base_own_letter_valid"].value, 1);
  }
}

TEST(Texts, MemorisationIsAMeanOverTexts) {
  Answers answers;
  answers.add(ProbeKind::text, Subset::own, {10, 5, 4, 2}, {20, 5, 1, 0});
  answers.add(ProbeKind::text, Subset::own, {20, 10, 5, 5}, {10, 10, 5, 1});
  const auto s = summary(answers);
  EXPECT_NEAR(s["base_own_exact_memorisation"].value, (0.8 + 0.5) / 2, 1e-7);
  EXPECT_NEAR(s["own_exact_memorisation"].value, (0.2 + 0.5) / 2, 1e-7);
  EXPECT_NEAR(s["base_own_extraction_strength"].value, (0.4 + 0.5) / 2, 1e-7);
  EXPECT_NEAR(s["own_extraction_strength"].value, (0 + 0.1) / 2, 1e-7);
  EXPECT_EQ(s["own_perplexity"].n, 2);
}

TEST(Bootstrap, IsPairedWithTheBase) {
  // Base margins vary wildly, but each item loses exactly half: the share left is known exactly.
  const cluster::KeyedRandom random(5, "paired");
  Answers answers;
  for (std::uint64_t i = 0; i < 40; ++i) {
    const auto base = static_cast<float>(1 + 4 * random.uniform(i));
    answers.add_choice(Subset::own, base, base / 2);
  }
  const auto s = summary(answers, Objective::margin, 300);
  EXPECT_LT(width(s["own_left"]), 1e-5);
  EXPECT_GT(width(s["own_margin"]), 0.1);
  EXPECT_EQ(s["own_left"].n, 40);
}

TEST(ScoreRows, RoundTripInTheOrderOfTheColumns) {
  Scores scores;
  double next = 0;
  for (auto& e : scores.figures) {
    e = {next, {next + 1, next + 2}, static_cast<std::int64_t>(next) + 3};
    next += 4;
  }
  scores.reused = static_cast<std::int64_t>(next);
  scores.measured = static_cast<std::int64_t>(next) + 1;
  const auto row = to_row(scores);
  const auto columns = score_columns();
  ASSERT_EQ(row.size(), columns.size());
  for (std::size_t i = 0; i < row.size(); ++i) EXPECT_EQ(row[i], static_cast<double>(i));
  EXPECT_EQ(to_row(from_row(row)), row);
  EXPECT_EQ(std::set<std::string>(columns.begin(), columns.end()).size(), columns.size());
  const auto at = [&](const std::string& name) {
    return row[static_cast<std::size_t>(std::ranges::find(columns, name) - columns.begin())];
  };
  EXPECT_EQ(at("efficacy"), scores["efficacy"].value);
  EXPECT_EQ(at("base_similar_margin_low"), scores["base_similar_margin"].interval.low);
  EXPECT_EQ(at("general_letter_accuracy_high"), scores["general_letter_accuracy"].interval.high);
  EXPECT_EQ(at("general_perplexity_n"), static_cast<double>(scores["general_perplexity"].n));
  EXPECT_EQ(at("reused"), static_cast<double>(scores.reused));
  EXPECT_EQ(at("measured"), static_cast<double>(scores.measured));
  EXPECT_THROW(figure_index("efficiency"), InternalError);
}

TEST(EarlyStop, EndsWhatLeavesTooMuch) {
  Options options;
  options.max_own_left = 0.6;
  EXPECT_FALSE(stops_at(options, 0.9));  // early_stop is off
  options.early_stop = true;
  EXPECT_TRUE(stops_at(options, 0.61));
  EXPECT_FALSE(stops_at(options, 0.6));
  EXPECT_FALSE(stops_at(options, nan));
  options.own_stop_open_only = true;
  EXPECT_FALSE(stops_at(options, 0.61));
  options.form = "open";
  EXPECT_TRUE(stops_at(options, 0.61));
}

}  // namespace
}  // namespace quench::evaluation
