#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "cluster/error.hpp"
#include "stages/selection/background.hpp"
#include "stages/selection/groups.hpp"
#include "stages/selection/statistics.hpp"

namespace quench::selection {
namespace {

using Ids = std::vector<std::int32_t>;

TEST(LogOdds, ByHand) {
  // 8 of 9 sentences against 1 of 19: l = log(8.5 / 10) - log(1.5 / 20) = 2.427748,
  // variance 1 / 8.5 + 1 / 1.5 = 0.784314.
  EXPECT_NEAR(log_odds_z(8, 9, 1, 19), 2.741314, 1e-6);
  EXPECT_NEAR(log_odds_z(3, 20, 3, 20), 0, 1e-12);
  EXPECT_LT(log_odds_z(0, 300, 200, 600), -3);
  EXPECT_TRUE(std::isfinite(log_odds_z(0, 0, 0, 0)));
}

// Two features over the tokens 10 (own), 20 (neutral), 30 (both) and 40 (own).
Factors small_factors() {
  Factors factors;
  factors.tokens = {10, 20, 30, 40};
  factors.width = 1;
  factors.rank = 3;
  factors.features = {1, 1, 1};
  factors.rows = {0, 1, 0, 2, 2, 3};
  factors.coefficients = {3, -1, -2, 2, 0, 0};
  return factors;
}

const TokenEvidence small_evidence{{9, -5, 1, 2},
                                   {Label::own, Label::neutral, Label::both, Label::own}};

TEST(FeatureStatistics, ByHand) {
  const auto statistics = feature_statistics(small_factors(), small_evidence, 2);
  const std::vector<double> contrast{(3 * 6 - 1 * 3) / 4.0, (2 * 6 + 2 * 1) / 4.0, 0};
  const std::vector<double> own_share{0.75, 0.5, 0};
  const std::vector<double> ratio{(3.0 / 2) / (1.0 + 1e-8), (2.0 / 2) / 1e-8, 0};
  EXPECT_EQ(statistics.contrast, contrast);
  EXPECT_EQ(statistics.own_share, own_share);
  for (int k = 0; k < 3; ++k) EXPECT_NEAR(statistics.ratio[k], ratio[k], 1e-9 * ratio[k]);
}

TEST(FeatureStatistics, WhatTheConceptLacksNeverSpeaksForIt) {
  // By the prior alone a token that 20 sentences lack and one of 3,000 has gets a z of more than 2.
  ASSERT_GT(log_odds_z(0, 20, 1, 3000), 2);
  const TokenEvidence evidence{{1, 2.4, -1, 2.4},
                               {Label::both, Label::neutral, Label::both, Label::neither}};
  const auto statistics = feature_statistics(small_factors(), evidence, 2);
  EXPECT_EQ(statistics.contrast,
            (std::vector<double>{(3 * 1 - 1 * 0) / 4.0, (2 * 1 - 2 * 1) / 4.0, 0}));
  EXPECT_EQ(statistics.own_share, (std::vector<double>{0, 0, 0}));
}

TEST(FeatureStatistics, WhatNoTextHoldsSaysNothing) {
  const TokenEvidence evidence{{4, -2, 2, 0},
                               {Label::own, Label::unseen, Label::both, Label::neither}};
  const auto statistics = feature_statistics(small_factors(), evidence, 2);
  EXPECT_EQ(statistics.contrast, (std::vector<double>{4, (2 * 4 + 2 * 2) / 4.0, 0}));
  EXPECT_EQ(statistics.own_share, (std::vector<double>{1, 1, 0}));
}

Choice choose_small(const Options& options) {
  return choose(small_factors(), small_evidence,
                feature_statistics(small_factors(), small_evidence, options.own_z), options);
}

TEST(Choose, ByContrast) {
  Options options;
  options.contrast = 3.6;
  auto choice = choose_small(options);
  EXPECT_EQ(choice.selected.features, Ids{0});
  EXPECT_EQ(choice.selected.tokens, Ids{10});  // 20 is neutral, 40 has no coefficient
  EXPECT_EQ(choice.places, Ids{0});
  EXPECT_EQ(choice.candidates, 2);
  options.contrast = 3.5;
  EXPECT_EQ(choose_small(options).selected.features, (Ids{0, 1}));
  options.token_z = 9.5;
  EXPECT_TRUE(choose_small(options).selected.tokens.empty());
  options.contrast = 5;
  EXPECT_TRUE(choose_small(options).selected.features.empty());
  EXPECT_FALSE(choose_small(options).fallback);
}

TEST(Choose, ByRatio) {
  Options options;
  options.method = "ratio";
  options.token_z = 100;  // of no consequence
  auto choice = choose_small(options);
  EXPECT_EQ(choice.selected.features, Ids{1});
  EXPECT_EQ(choice.selected.tokens, Ids{10});
  EXPECT_EQ(choice.candidates, 2);
  EXPECT_FALSE(choice.fallback);
  options.ratio = 1e12;
  choice = choose_small(options);
  EXPECT_TRUE(choice.selected.features.empty());
  EXPECT_TRUE(choice.selected.tokens.empty());
  EXPECT_FALSE(choice.fallback);
  options.ratio_fallback = true;
  choice = choose_small(options);
  EXPECT_EQ(choice.selected.features, (Ids{0, 1, 2}));
  EXPECT_TRUE(choice.fallback);
}

TEST(Choose, WhatAPersonDecided) {
  const auto decided = [](const Decision& decision, const std::string& method = "manual") {
    Options options;
    options.method = method;
    return choose(small_factors(), small_evidence,
                  feature_statistics(small_factors(), small_evidence, options.own_z), options,
                  decision)
        .selected;
  };
  EXPECT_EQ(decided({Ids{1}, {}}).tokens, Ids{10});      // 30 is of both texts
  EXPECT_EQ(decided({Ids{2}, {}}).tokens, Ids{});        // a feature without coefficients
  const auto tokens_alone = decided({{}, Ids{20, 40}});  // 40 has no coefficient
  EXPECT_EQ(tokens_alone.features, Ids{0});
  EXPECT_EQ(tokens_alone.tokens, Ids{20});
  const auto both = decided({Ids{1}, Ids{20, 30}});
  EXPECT_EQ(both.features, Ids{1});
  EXPECT_EQ(both.tokens, Ids{30});
  EXPECT_TRUE(decided({}).features.empty());
  EXPECT_TRUE(decided({}, "judge").features.empty());
}

TEST(StrongestFirst, ByMagnitudeWithoutZeros) {
  EXPECT_EQ(strongest_first(small_factors(), 0), (std::vector<std::int64_t>{0, 1}));
  auto factors = small_factors();
  factors.coefficients = {1, -3, 2, -2, 0, 1};
  EXPECT_EQ(strongest_first(factors, 0), (std::vector<std::int64_t>{1, 0}));
  EXPECT_EQ(strongest_first(factors, 1), (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(strongest_first(factors, 2), (std::vector<std::int64_t>{5}));
}

TEST(Choose, NothingFromNothing) {
  const auto choice = choose({}, {}, {}, {});
  EXPECT_TRUE(choice.selected.features.empty());
  EXPECT_FALSE(choice.fallback);
}

TEST(Background, SumsAndLabels) {
  const DocumentFrequencies a{10, {1, 3, 5}, {1, 2, 3}};
  const DocumentFrequencies b{20, {0, 3, 9}, {4, 5, 6}};
  const auto sum = sum_of(a, b);
  EXPECT_EQ(sum.sentences, 30);
  EXPECT_EQ(sum.ids, (Ids{0, 1, 3, 5, 9}));
  EXPECT_EQ(sum.counts, (Ids{4, 1, 7, 3, 6}));
  EXPECT_EQ(count_of(a, 3), 2);
  EXPECT_EQ(count_of(a, 4), 0);
  EXPECT_EQ(labels_of(Ids{0, 1, 3, 8}, a, b),
            (std::vector<Label>{Label::neutral, Label::own, Label::both, Label::neither}));
  Background background{std::vector<std::int64_t>(9, 0), 0};
  EXPECT_THROW(add(background, b), DataError);
}

TEST(Background, LeavesTheGroupOut) {
  const DocumentFrequencies own{9, {2}, {8}};
  const DocumentFrequencies alias{7, {2}, {7}};
  const DocumentFrequencies other{19, {2}, {1}};
  Background whole{std::vector<std::int64_t>(4, 0), 0};
  for (const auto& part : {own, alias, other}) add(whole, part);
  EXPECT_DOUBLE_EQ(z_scores(Ids{2}, own, whole, sum_of(own, alias), 0)[0], log_odds_z(8, 9, 1, 19));
  EXPECT_DOUBLE_EQ(z_scores(Ids{2}, own, whole, own, 0)[0], log_odds_z(8, 9, 8, 26));
  EXPECT_DOUBLE_EQ(z_scores(Ids{2}, own, whole, own, 52)[0], log_odds_z(8, 9, 16, 52));
}

TEST(Background, AStandardMakesCatalogsOfAnySizeAlike) {
  // The same shares in ten times the sentences: 30 of 300 and 300 of 3,000, none of either.
  const DocumentFrequencies own{100, {2, 3}, {40, 20}};
  const auto scores = [&](std::int64_t times, double standard) {
    Background whole{std::vector<std::int64_t>(4, 0), 0};
    add(whole, own);
    add(whole, {300 * times, {2}, {static_cast<std::int32_t>(30 * times)}});
    return z_scores(Ids{2, 3}, own, whole, own, standard);
  };
  EXPECT_GT(scores(10, 0)[1], scores(1, 0)[1] + 1);
  for (int token = 0; token < 2; ++token)
    EXPECT_NEAR(scores(10, 1000)[token], scores(1, 1000)[token], 1e-12) << token;
}

TEST(Groups, SimilarProfiles) {
  Profiles profiles;
  append_profile(profiles, {1, 2}, {3, 4});
  append_profile(profiles, {5}, {0});
  append_profile(profiles, {1, 2, 7}, {6, 8, 0});
  append_profile(profiles, {2, 9}, {1, 1});  // cosine with the first: 0.8 / sqrt(2) = 0.566
  EXPECT_EQ(profiles.offsets, (std::vector<std::int64_t>{0, 2, 2, 4, 6}));
  const auto pairs = [&](cluster::Range own, double least) {
    return similar_pairs(profiles, own, least);
  };
  EXPECT_EQ(pairs({0, 4}, 0.99), (std::vector<Pair>{{2, 0}}));
  EXPECT_EQ(pairs({0, 4}, 0.56), (std::vector<Pair>{{2, 0}, {3, 0}, {3, 2}}));
  EXPECT_EQ(pairs({3, 4}, 0.56), (std::vector<Pair>{{3, 0}, {3, 2}}));
  EXPECT_TRUE(pairs({0, 4}, 1.01).empty());
}

TEST(Groups, NamesAndConnections) {
  const auto pairs = pairs_by_name(
      {{"Gun"}, {"Golf", "golfing"}, {"Rifle", "gun", "Rifle"}, {"GOLFING"}, {"Tea"}});
  EXPECT_EQ(pairs, (std::vector<Pair>{{2, 0}, {3, 1}}));
  EXPECT_EQ(connected_groups(5, pairs), (std::vector<std::int64_t>{0, 1, 0, 1, 4}));
  EXPECT_EQ(connected_groups(6, {{5, 4}, {2, 1}, {4, 2}}),
            (std::vector<std::int64_t>{0, 1, 1, 3, 1, 1}));
}

}  // namespace
}  // namespace quench::selection
