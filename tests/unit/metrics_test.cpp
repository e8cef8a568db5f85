#include "stages/evaluation/metrics.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <deque>
#include <limits>
#include <set>

#include "cluster/random.hpp"
#include "stages/evaluation/evaluation.hpp"

namespace quench::evaluation {
namespace {

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

// Rows of methods.md, section 10: what is left of MMLU, of similar-domain and of own questions, and
// coherence; then efficacy, specificity and the two harmonic means that were published.
struct PublishedRow {
  double general, own, similar, coherence;
  double efficacy, specificity, harmonic, harmonic_all;
};
constexpr std::array<PublishedRow, 8> published = {{
    {1, .265, .805, .990, .735, .892, .806, .859},     // Gemma, PISCES, Golf
    {1, .458, .400, .998, .542, .571, .556, .652},     // Gemma, PISCES, Uranium
    {.894, .127, .538, 1, .873, .672, .759, .826},     // Gemma, RMU, Golf
    {1, 0, .262, .995, 1, .415, .586, .679},           // Gemma, CRISP, Golf
    {.654, .164, .169, .990, .836, .269, .407, .506},  // Gemma, SNMF, Golf
    {1, .121, .943, 1, .879, .971, .922, .947},        // Llama, PISCES, Golf
    {.973, 0, .785, .997, 1, .869, .930, .951},        // Llama, RMU, Ancient Rome
    {.728, .275, .938, .998, .725, .820, .769, .833},  // Llama, CRISP, Ancient Rome
}};

TEST(HarmonicMean, PublishedRows) {
  constexpr double rounding = 1.5e-3;  // of three published digits
  for (const auto& row : published) {
    const double efficacy = 1 - row.own, specificity = harmonic({row.general, row.similar});
    EXPECT_NEAR(efficacy, row.efficacy, rounding);
    EXPECT_NEAR(specificity, row.specificity, rounding);
    EXPECT_NEAR(harmonic({efficacy, specificity}), row.harmonic, rounding);
    EXPECT_NEAR(harmonic({efficacy, specificity, row.coherence}), row.harmonic_all, rounding);
  }
}

Measurement said(std::vector<float> values, bool reused = false) {
  Measurement measurement;
  measurement.values = std::move(values);
  measurement.reused = reused;
  return measurement;
}

TEST(Choice, RightAndMargin) {
  Probe probe;
  probe.correct = 1;
  EXPECT_EQ(share_right(probe, said({-3, -1, -2, -4})), 1);
  EXPECT_DOUBLE_EQ(margin(probe, said({-3, -1, -2, -4})), -1 + 3);
  EXPECT_EQ(share_right(probe, said({-1, -2, -2, -6})), 0);
  EXPECT_DOUBLE_EQ(margin(probe, said({-1, -2, -2, -6})), -2 + 3);  // wrong, margin above 0
}

TEST(Choice, EqualOptionsShareTheRight) {
  for (int correct = 0; correct < 4; ++correct) {
    Probe probe;
    probe.correct = correct;
    EXPECT_EQ(share_right(probe, said({-2, -2, -2, -2})), 0.25);
    EXPECT_EQ(share_right(probe, said({-1, -3, -1, -4})), correct % 2 == 0 ? 0.5 : 0);
  }
}

// Probes with what the base model and the edited one said to them.
class Answers {
 public:
  void add(ProbeKind kind, Subset subset, std::vector<float> base, std::vector<float> now,
           bool reused = false) {
    Probe probe;
    probe.kind = kind;
    probe.subset = subset;
    probe.split = split;
    probe.correct = correct_;
    probes_.push_back(probe);
    said_.push_back(said(std::move(base)));
    said_.push_back(said(std::move(now), reused));
    pairs_.push_back({&probes_.back(), &said_[said_.size() - 2], &said_.back()});
  }
  // A question with these margins; right where they are positive.
  void add_choice(Subset subset, float base, float now, bool reused = false) {
    correct_ = (correct_ + 1) % 4;
    add(ProbeKind::choice, subset, with_margin(base), with_margin(now), reused);
  }
  std::span<const Pair> pairs() const { return pairs_; }

  Split split = Split::test;

 private:
  std::vector<float> with_margin(float margin) const {
    std::vector<float> values(4, -8);
    values[static_cast<std::size_t>(correct_)] += margin;
    return values;
  }

  std::int32_t correct_ = 0;
  std::deque<Probe> probes_;
  std::deque<Measurement> said_;
  std::vector<Pair> pairs_;
};

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
  return summarise(answers.pairs(), answers.split, objective, resamples, purpose);
}

TEST(Summarise, MarginsByHand) {
  Answers answers;
  add_questions(answers);
  add_instructions(answers);
  const auto s = summary(answers);
  const double own = 0.125 / 0.75, similar = 0.75, general = 0.25;
  EXPECT_NEAR(s.own_left.value, own, 1e-7);
  EXPECT_NEAR(s.similar_left.value, similar, 1e-7);
  EXPECT_NEAR(s.general_left.value, general, 1e-7);
  EXPECT_NEAR(s.efficacy.value, 1 - own, 1e-7);
  const double specificity = 2 / (1 / similar + 1 / general);
  EXPECT_NEAR(s.specificity.value, specificity, 1e-7);
  const double coherence = 2 / (std::exp(1) + 1 / 0.75);
  EXPECT_NEAR(s.coherence.value, coherence, 1e-7);
  EXPECT_NEAR(s.harmonic.value, 2 / (1 / (1 - own) + 1 / specificity), 1e-7);
  EXPECT_NEAR(s.harmonic_all.value, 3 / (1 / (1 - own) + 1 / specificity + 1 / coherence), 1e-7);
  EXPECT_NEAR(s.base_own.margin.value, 0.75, 1e-7);
  EXPECT_NEAR(s.own.margin.value, 0.125, 1e-7);
  EXPECT_EQ(s.base_own.accuracy.value, 0.75);
  EXPECT_EQ(s.own.accuracy.value, 0.5);
  EXPECT_EQ(s.reused, 1);
  EXPECT_EQ(s.measured, 9);
}

TEST(Summarise, AccuraciesByHand) {
  Answers answers;
  add_questions(answers);
  const auto s = summary(answers, Objective::accuracy);
  EXPECT_DOUBLE_EQ(s.own_left.value, (0.5 - 0.25) / (0.75 - 0.25));
  EXPECT_DOUBLE_EQ(s.similar_left.value, 1);
  EXPECT_DOUBLE_EQ(s.general_left.value, (0.5 - 0.25) / (1 - 0.25));
  EXPECT_DOUBLE_EQ(s.specificity.value, 0.5);
  EXPECT_DOUBLE_EQ(s.harmonic.value, 0.5);
  EXPECT_DOUBLE_EQ(s.harmonic_all.value, s.harmonic.value);  // no instructions
  EXPECT_TRUE(std::isnan(s.coherence.value));
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
  EXPECT_EQ(s.base_own.open_accuracy.value, 1);
  EXPECT_EQ(s.own.open_accuracy.value, 0.5);
  EXPECT_EQ(s.similar.open_accuracy.value, 1);
  EXPECT_TRUE(std::isnan(s.own.letter_accuracy.value));
  EXPECT_EQ(s.base_general.letter_accuracy.value + s.general.letter_accuracy.value, 1);
  EXPECT_NEAR(s.base_text_perplexity.value, std::exp(1), 1e-9);
  EXPECT_NEAR(s.text_perplexity.value, std::exp(3), 1e-9);
  EXPECT_NEAR(s.base_neutral_perplexity.value, std::exp(1), 1e-9);
  EXPECT_NEAR(s.neutral_perplexity.value, std::exp(3), 1e-9);
}

TEST(Summarise, OneSplitOnly) {
  Answers answers;
  answers.split = Split::train;
  answers.add_choice(Subset::own, 1, 1);
  answers.split = Split::test;
  answers.add_choice(Subset::own, 1, 0.25f);
  EXPECT_NEAR(summary(answers).own_left.value, 0.25, 1e-7);
  EXPECT_EQ(summary(answers).measured, 1);
  answers.split = Split::train;
  EXPECT_NEAR(summary(answers).own_left.value, 1, 1e-7);
}

TEST(Summarise, ClipsShares) {
  Answers answers;
  answers.add_choice(Subset::own, 1, -3);
  answers.add_choice(Subset::similar, 1, 2);
  answers.add(ProbeKind::instruction, Subset::general, {20, 10, 0.5f}, {10, 10, 0});
  const auto s = summary(answers);
  EXPECT_EQ(s.own_left.value, 0);
  EXPECT_EQ(s.efficacy.value, 1);
  EXPECT_EQ(s.similar_left.value, 1);
  EXPECT_EQ(s.coherence.value, 1);
}

TEST(Summarise, NothingIsLeftOfNothing) {
  Answers answers;
  answers.add_choice(Subset::own, -1, 1);  // wrong before, so accuracy is below chance
  answers.add_choice(Subset::similar, 1, 1);
  for (const auto objective : {Objective::margin, Objective::accuracy}) {
    const auto s = summary(answers, objective);
    EXPECT_TRUE(std::isnan(s.own_left.value));
    EXPECT_TRUE(std::isnan(s.efficacy.value));
    EXPECT_TRUE(std::isnan(s.general_left.value));  // no questions at all
    EXPECT_EQ(s.specificity.value, 0);
    EXPECT_EQ(s.harmonic.value, 0);
  }
}

TEST(Summarise, EmptyAnswersLowerCoherence) {
  Answers answers;
  const auto s_of = [](std::vector<float> now) {
    Answers two;
    two.add(ProbeKind::instruction, Subset::general, {20, 10, 0}, {20, 10, 0});
    two.add(ProbeKind::instruction, Subset::general, {20, 10, 0}, std::move(now));
    return summary(two).coherence.value;
  };
  EXPECT_DOUBLE_EQ(s_of({20, 10, 0}), 1);
  EXPECT_DOUBLE_EQ(s_of({0, 0, 1}), 0.5);  // half of the answers, half of non-repetition
  answers.add(ProbeKind::instruction, Subset::general, {20, 10, 0}, {0, 0, 1});
  EXPECT_EQ(summary(answers).coherence.value, 0);
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

double width(const Estimate& e) { return e.interval.high - e.interval.low; }

TEST(Bootstrap, IntervalsOverItems) {
  const auto few = summary(scattered(25), Objective::margin, 500).own_left;
  const auto many = summary(scattered(400), Objective::margin, 500).own_left;
  for (const auto& e : {few, many}) {
    EXPECT_LE(e.interval.low, e.value);
    EXPECT_GE(e.interval.high, e.value);
    EXPECT_NEAR(e.value, 0.5, 0.2);
  }
  // 95% of a mean of normal numbers is 2 x 1.96 x 0.4 / sqrt(n).
  EXPECT_NEAR(width(few), 0.31, 0.1);
  EXPECT_NEAR(width(many), 0.078, 0.02);
}

TEST(Bootstrap, KeyedByPurpose) {
  const auto answers = scattered(30);
  const auto interval_of = [&](const std::string& purpose) {
    const auto e = summary(answers, Objective::margin, 200, purpose).own_left;
    return std::pair(e.interval.low, e.interval.high);
  };
  EXPECT_EQ(interval_of("a"), interval_of("a"));
  EXPECT_NE(interval_of("a"), interval_of("b"));
  const auto plain = summary(answers, Objective::margin, 0).own_left;
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

TEST(MeanOverConcepts, LeavesOutWhatIsNotANumber) {
  std::vector<Scores> scores(3);
  scores[0].own_left.value = 0.2;
  scores[1].own_left.value = 0.6;
  scores[2].own_left.value = nan;
  for (std::size_t i = 0; i < 3; ++i) {
    scores[i].efficacy.value = 0.5;
    scores[i].coherence.value = nan;
    scores[i].reused = 10;
    scores[i].measured = static_cast<std::int64_t>(i);
  }
  const auto mean = mean_over_concepts(scores, 300, "test");
  EXPECT_DOUBLE_EQ(mean.own_left.value, 0.4);
  EXPECT_DOUBLE_EQ(mean.own_left.interval.low, 0.2);
  EXPECT_DOUBLE_EQ(mean.own_left.interval.high, 0.6);
  EXPECT_DOUBLE_EQ(mean.efficacy.value, 0.5);
  EXPECT_DOUBLE_EQ(width(mean.efficacy), 0);
  EXPECT_TRUE(std::isnan(mean.coherence.value));
  EXPECT_EQ(mean.reused, 30);
  EXPECT_EQ(mean.measured, 3);
  EXPECT_TRUE(std::isnan(mean_over_concepts({}, 10, "test").efficacy.value));
}

TEST(ScoreRows, RoundTripInTheOrderOfTheColumns) {
  Scores scores;
  double next = 0;
  Scores::for_each(scores, [&](const auto&, Estimate& e) {
    e = {next, {next + 1, next + 2}};
    next += 3;
  });
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
  EXPECT_EQ(at("efficacy"), scores.efficacy.value);
  EXPECT_EQ(at("base_similar_margin_low"), scores.base_similar.margin.interval.low);
  EXPECT_EQ(at("general_letter_accuracy_high"), scores.general.letter_accuracy.interval.high);
  EXPECT_EQ(at("neutral_perplexity"), scores.neutral_perplexity.value);
  EXPECT_EQ(at("reused"), static_cast<double>(scores.reused));
  EXPECT_EQ(at("measured"), static_cast<double>(scores.measured));
}

}  // namespace
}  // namespace quench::evaluation
