#include "stages/evaluation/concept_mean.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "cluster/communicator.hpp"
#include "cluster/random.hpp"
#include "tests/unit/answers.hpp"

namespace quench::evaluation {
namespace {

using namespace testing;

// Concepts whose own shares differ, each of items that scatter.
std::vector<Answers> concepts_of(std::size_t count, double spread, double noise) {
  const cluster::KeyedRandom random(7, "concepts");
  std::vector<Answers> all(count);
  for (std::size_t c = 0; c < count; ++c)
    for (std::uint64_t i = 0; i < 20; ++i)
      all[c].add_choice(Subset::own, 1,
                        static_cast<float>(0.5 + spread * random.normal(1000 + c) +
                                           noise * random.normal(2000 + 100 * c + i)));
  return all;
}

Scores mean_on(int ranks, const std::vector<Answers>& concepts, std::int64_t resamples = 400) {
  Scores seen;
  cluster::run_on_threads(ranks, [&](cluster::Communicator& world) {
    ConceptMean mean(std::ssize(concepts), resamples, "test");
    for (std::size_t c = static_cast<std::size_t>(world.rank()); c < concepts.size();
         c += static_cast<std::size_t>(world.size())) {
      const Sample sample(concepts[c].pairs(), Split::test, {}, std::to_string(c));
      mean.add(static_cast<std::int64_t>(c), sample, sample.scores(0));
    }
    auto scores = mean.finish(world);
    if (world.rank() == 0) seen = std::move(scores);
  });
  return seen;
}

TEST(ConceptMeans, DrawConceptsAndThenItems) {
  const auto alike = mean_on(1, concepts_of(16, 0, 0))["own_left"];
  EXPECT_NEAR(alike.value, 0.5, 1e-6);
  EXPECT_LT(width(alike), 1e-6);
  EXPECT_EQ(alike.n, 16);
  // 2 x 1.96 x noise / sqrt(16 x 20), of which a bootstrap over concepts alone sees as much.
  const auto items = mean_on(1, concepts_of(16, 0, 0.2))["own_left"];
  EXPECT_NEAR(width(items), std::sqrt(2.0) * 2 * 1.96 * 0.2 / std::sqrt(320.0), 0.02);
  const auto both = mean_on(1, concepts_of(16, 0.1, 0.2))["own_left"];
  EXPECT_GT(width(both), 1.3 * width(items));
  // One concept: only its items can vary.
  EXPECT_GT(width(mean_on(1, concepts_of(1, 0, 0.2))["own_left"]), 0.1);
}

TEST(ConceptMeans, AConceptWithoutTheFigureIsInNoResample) {
  std::vector<Answers> concepts(2);
  for (int i = 0; i < 20; ++i) {
    concepts[0].add_choice(Subset::own, 1, 0.5F);
    // The base model's own margin is below 0, but not in every resample.
    concepts[1].add_choice(Subset::own, i % 2 == 0 ? 1 : -1.01F, 0);
  }
  const auto mean = mean_on(1, concepts)["own_left"];
  EXPECT_EQ(mean.n, 1);
  EXPECT_NEAR(mean.value, 0.5, 1e-6);
  EXPECT_NEAR(mean.interval.low, 0.5, 1e-6);
  EXPECT_NEAR(mean.interval.high, 0.5, 1e-6);
}

TEST(ConceptMeans, TheSameOnAnyNumberOfRanks) {
  auto concepts = concepts_of(5, 0.1, 0.2);
  concepts[3] = Answers();  // has none of the figures
  const auto one = mean_on(1, concepts);
  EXPECT_EQ(one["own_left"].n, 4);
  EXPECT_TRUE(std::isnan(one["coherence"].value));
  for (const int ranks : {2, 3}) {
    const auto other = mean_on(ranks, concepts);
    for (std::size_t f = 0; f < one.figures.size(); ++f) {
      const auto &a = one.figures[f], &b = other.figures[f];
      EXPECT_EQ(a.n, b.n);
      if (std::isnan(a.value)) continue;
      EXPECT_NEAR(a.value, b.value, 1e-12);
      EXPECT_NEAR(a.interval.low, b.interval.low, 1e-12);
      EXPECT_NEAR(a.interval.high, b.interval.high, 1e-12);
    }
  }
}

}  // namespace
}  // namespace quench::evaluation
