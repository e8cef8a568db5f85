#include "stages/erasure/joint_mean.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace quench::erasure {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr std::size_t general = 3;  // told figure

// Every figure is `value`, and so is every draw.
CellScores flat(double value) {
  CellScores scores;
  scores.efficacy = scores.specificity = scores.coherence = scores.general_left = scores.own_left =
      scores.similar_left = scores.harmonic = value;
  ToldFigures draw;
  draw.fill(value);
  scores.draws.assign(resamples, draw);
  return scores;
}

TEST(JointMeans, EveryResampleDrawsAsManyConceptsAsThereAre) {
  const JointMean mean(5), again(5);
  std::int64_t most = 0;
  for (std::size_t b = 0; b < resamples; ++b) {
    std::int64_t drawn = 0;
    for (std::int64_t c = 0; c < 5; ++c) {
      drawn += mean.times(c)[b];
      most = std::max(most, mean.times(c)[b]);
      EXPECT_EQ(again.times(c)[b], mean.times(c)[b]);
    }
    EXPECT_EQ(drawn, 5) << b;
  }
  EXPECT_GT(most, 1);  // with replacement
}

TEST(JointMeans, OneConceptVariesByItsItems) {
  JointMean mean(1);
  auto scores = flat(0.5);
  for (std::size_t b = 0; b < resamples; ++b)
    scores.draws[b][general] = static_cast<double>((7 * b) % resamples);  // 0 .. 199, mixed
  mean.add(0, scores);
  const auto found = mean.finish();
  EXPECT_EQ(found.general_left, 0.5);
  EXPECT_EQ(found.spreads[general].low, 4);
  EXPECT_EQ(found.spreads[general].high, 194);
  EXPECT_EQ(found.spreads[general].n, 1);
  EXPECT_EQ(found.spreads[0].low, 0.5);
  EXPECT_EQ(found.spreads[0].high, 0.5);
}

TEST(JointMeans, ConceptsVaryToo) {
  JointMean mean(8);
  for (std::int64_t c = 0; c < 8; ++c) mean.add(c, flat(static_cast<double>(c % 2)));
  const auto found = mean.finish();
  EXPECT_EQ(found.harmonic, 0.5);
  const auto& spread = found.spreads.back();
  EXPECT_EQ(spread.n, 8);
  // 0.5 -+ 1.96 x 0.5 / sqrt(8), in eighths.
  EXPECT_GE(spread.low, 0.125);
  EXPECT_LE(spread.low, 0.25);
  EXPECT_GE(spread.high, 0.75);
  EXPECT_LE(spread.high, 0.875);
}

TEST(JointMeans, WhatAConceptDoesNotMeasureIsLeftOut) {
  JointMean mean(3);
  mean.add(0, flat(0.25));
  auto without = flat(1);
  without.general_left = nan;  // but its draws have it
  without.reused = 4;
  mean.add(1, without);
  mean.add(2, flat(0.25));
  const auto found = mean.finish();
  EXPECT_EQ(found.general_left, 0.25);
  EXPECT_EQ(found.spreads[general].low, 0.25);
  EXPECT_EQ(found.spreads[general].high, 0.25);
  EXPECT_EQ(found.spreads[general].n, 2);
  EXPECT_EQ(found.efficacy, 0.5);
  EXPECT_EQ(found.spreads[0].n, 3);
  // What none measures.
  JointMean none(1);
  auto scores = flat(0.5);
  scores.coherence = nan;
  none.add(0, scores);
  EXPECT_TRUE(std::isnan(none.finish().coherence));
  EXPECT_TRUE(std::isnan(none.finish().spreads[2].low));
  EXPECT_EQ(none.finish().spreads[2].n, 0);
}

}  // namespace
}  // namespace quench::erasure
