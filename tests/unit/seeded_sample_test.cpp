#include "stages/evaluation/seeded_sample.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "cluster/communicator.hpp"
#include "cluster/error.hpp"
#include "cluster/random.hpp"
#include "stages/evaluation/concept_mean.hpp"
#include "stages/evaluation/difference.hpp"
#include "tests/unit/answers.hpp"

namespace quench::evaluation {
namespace {

using namespace testing;

constexpr std::size_t items = 20;
constexpr double tolerance = 1e-5;  // margins are float32

// Own questions of base margin 1 and these margins of the model in question.
Sample sample_of(const std::function<float(std::uint64_t)>& margin) {
  Answers answers;
  for (std::uint64_t i = 0; i < items; ++i) answers.add_choice(Subset::own, 1, margin(i));
  return Sample(answers.pairs(), Split::test, {}, "relearning/concept");
}

float scatter(std::uint64_t item) {
  return static_cast<float>(cluster::KeyedRandom(3, "items").normal(item));
}

// Seeds whose items all have one margin, each its own.
SeededSample apart(const std::vector<float>& margins, const std::string& purpose = "seeds") {
  std::vector<Sample> seeds;
  for (const float margin : margins) seeds.push_back(sample_of([=](auto) { return margin; }));
  return {std::move(seeds), purpose};
}

TEST(SeededSamples, OneSeedHasItsOwnInterval) {
  const auto own = sample_of([](auto i) { return 0.5F + 0.3F * scatter(i); });
  const auto alone = own.scores(300), seeded = SeededSample({own}, "seeds").scores(300);
  EXPECT_GT(width(alone["own_left"]), 0.1);
  for (std::size_t f = 0; f < alone.figures.size(); ++f) {
    const auto &a = alone.figures[f], &b = seeded.figures[f];
    EXPECT_EQ(a.n, b.n);
    EXPECT_EQ(std::isnan(a.value), std::isnan(b.value));
    if (std::isnan(a.value)) continue;
    EXPECT_EQ(a.value, b.value) << figure_names()[f];
    EXPECT_EQ(a.interval.low, b.interval.low) << figure_names()[f];
    EXPECT_EQ(a.interval.high, b.interval.high) << figure_names()[f];
  }
}

TEST(SeededSamples, TheSpreadOfSeedsIsInTheInterval) {
  // No seed's own interval has a width; a quarter of the draws takes the lower seed twice.
  EXPECT_LT(width(apart({0.2F}).scores(300)["own_left"]), tolerance);
  const auto left = apart({0.2F, 0.8F}).scores(300)["own_left"];
  EXPECT_NEAR(left.value, 0.5, tolerance);
  EXPECT_NEAR(left.interval.low, 0.2, tolerance);
  EXPECT_NEAR(left.interval.high, 0.8, tolerance);
  EXPECT_EQ(left.n, static_cast<std::int64_t>(items));
}

TEST(SeededSamples, MoreSeedsNarrowIt) {
  std::vector<float> many;
  for (int s = 0; s < 16; ++s) many.push_back(s % 2 == 0 ? 0.2F : 0.8F);
  const auto left = apart(many).scores(800)["own_left"];
  EXPECT_NEAR(width(left), 2 * 1.96 * 0.3 / std::sqrt(16.0), 0.05);
}

TEST(SeededSamples, ItemsAreDrawnAlikeForAllSeeds) {
  // What one seed lost of an item the other one has: of both together every item is worth 0.5.
  const SeededSample both({sample_of([](auto i) { return scatter(i); }),
                           sample_of([](auto i) { return 1 - scatter(i); })},
                          "seeds");
  const auto margin = figure_index("own_margin");
  int of_both = 0;
  for (std::int64_t draw = 0; draw < 200; ++draw)
    of_both += std::abs(both.resampled(draw)[margin] - 0.5) < tolerance ? 1 : 0;
  EXPECT_NEAR(of_both, 100, 30);
}

TEST(SeededSamples, ASeedWithoutTheFigureIsLeftOut) {
  const auto left =
      apart({0.2F, std::numeric_limits<float>::quiet_NaN(), 0.8F}).scores(300)["own_left"];
  EXPECT_NEAR(left.value, 0.5, tolerance);
  EXPECT_NEAR(left.interval.low, 0.2, tolerance);
  EXPECT_NEAR(left.interval.high, 0.8, tolerance);
  EXPECT_THROW(SeededSample({}, "seeds"), InternalError);
}

TEST(SeededSamples, DifferencesArePairedByItemsAndSeeds) {
  // Items scatter by 1 and seeds by 0.3, in both runs alike; one run is 0.1 above the other.
  const auto run = [](float by, const std::string& purpose) {
    std::vector<Sample> seeds;
    for (const float own : {-0.3F, 0.3F})
      seeds.push_back(sample_of([=](auto i) { return own + by + scatter(i); }));
    return SeededSample(std::move(seeds), purpose);
  };
  const auto margin = figure_index("own_margin");
  const auto a = run(0, "seeds 0 1"), b = run(0.1F, "seeds 0 1"), c = run(0.1F, "seeds 2 3");
  const auto alike = paired_difference(a, b, 400)[margin];
  EXPECT_NEAR(alike.value, 0.1, tolerance);
  EXPECT_NEAR(alike.interval.low, 0.1, tolerance);
  EXPECT_NEAR(alike.interval.high, 0.1, tolerance);
  EXPECT_DOUBLE_EQ(alike.p, 2 / 401.0);
  EXPECT_EQ(alike.n, static_cast<std::int64_t>(items));
  // Other seeds: items still cancel out, seeds do not.
  const auto others = paired_difference(a, c, 400)[margin];
  EXPECT_NEAR(others.value, 0.1, tolerance);
  EXPECT_NEAR(others.interval.low, 0.1 - 0.6, tolerance);
  EXPECT_NEAR(others.interval.high, 0.1 + 0.6, tolerance);
  EXPECT_GT(others.p, 0.05);
  for (const auto& d : paired_difference(a, a, 50))
    EXPECT_TRUE(std::isnan(d.value) || (d.interval.low == 0 && d.interval.high == 0 && d.p == 1));
}

TEST(SeededSamples, AMeanOverConceptsSeesTheirSeeds) {
  // Concepts alike: only seeds can vary, drawn anew where a concept is drawn twice.
  const auto concept_sample = apart({0.2F, 0.8F});
  const auto world = cluster::make_self_communicator();
  ConceptMean mean(4, 400, "test");
  for (std::int64_t place = 0; place < 4; ++place)
    mean.add(place, concept_sample.figures(),
             [&, other = apart({0.2F, 0.8F}, std::to_string(place))](auto draw, auto again) {
               return other.resampled(draw, again);
             });
  const auto left = mean.finish(*world)["own_left"];
  EXPECT_NEAR(left.value, 0.5, tolerance);
  EXPECT_EQ(left.n, 4);
  EXPECT_NEAR(width(left), 2 * 1.96 * 0.3 / std::sqrt(8.0), 0.1);
  int differ = 0;
  for (std::int64_t draw = 0; draw < 100; ++draw) {
    const auto own_left = figure_index("own_left");
    differ +=
        concept_sample.resampled(draw)[own_left] != concept_sample.resampled(draw, 1)[own_left] ? 1
                                                                                                : 0;
  }
  EXPECT_GT(differ, 30);
}

}  // namespace
}  // namespace quench::evaluation
