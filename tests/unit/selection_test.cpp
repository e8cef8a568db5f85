#include "stages/selection/selection.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "cluster/error.hpp"
#include "stages/selection/background.hpp"
#include "stages/selection/groups.hpp"
#include "tests/support/collective_check.hpp"
#include "tests/support/scratch_directory.hpp"
#include "tests/support/shared_directory.hpp"

namespace quench::selection {
namespace {

using namespace testing;
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
  EXPECT_EQ(choice.selected.features, (Ids{0, 1, 2}));
  EXPECT_TRUE(choice.fallback);
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
  EXPECT_DOUBLE_EQ(z_scores(Ids{2}, own, whole, sum_of(own, alias))[0], log_odds_z(8, 9, 1, 19));
  EXPECT_DOUBLE_EQ(z_scores(Ids{2}, own, whole, own)[0], log_odds_z(8, 9, 8, 26));
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

// A planted catalog: tokens 0..9 occur with everybody, 10 + 10 c .. 19 + 10 c are the own words of
// concept c (of 5). Concepts 3 and 4 are the same thing. Feature 0 of each concept sits on its own
// words, feature 1 on common ones, feature 2 on words of the neutral text.
constexpr std::int64_t concepts = 5;
constexpr std::int32_t neutral_word = 90;
constexpr std::int32_t shared_word = 80;  // concepts 0 and 1 have it

std::int32_t own_word(std::int64_t c, std::int32_t i) {
  return static_cast<std::int32_t>(10 + 10 * std::min<std::int64_t>(c, 3)) + i;
}

DocumentFrequencies planted(std::int64_t c) {
  DocumentFrequencies out;
  out.sentences = 100 + c;
  for (std::int32_t id = 0; id < 10; ++id) out.ids.push_back(id);
  for (std::int32_t i = 0; i < 10; ++i) out.ids.push_back(own_word(c, i));
  out.counts.assign(20, 60);
  if (c <= 1) {
    out.ids.push_back(shared_word);
    out.counts.push_back(50);
  }
  return out;
}

Factors planted_factors(std::int64_t c) {
  Factors out;
  out.tokens = planted(c).ids;
  out.tokens.push_back(neutral_word);
  out.width = 1;
  out.rank = 3;
  out.features = {1, 2, 3};
  const auto last = static_cast<std::int32_t>(out.tokens.size()) - 1;
  const auto second = c <= 1 ? last - 1 : 19;
  out.rows = {10, second, 0, 1, 2, last};
  out.coefficients = {1, 1, 1, 1, 1, 1};
  return out;
}

Inputs planted_inputs() {
  Inputs inputs;
  inputs.concepts = concepts;
  inputs.vocab = 100;
  inputs.frequencies = planted;
  inputs.neutral = planted(0);
  inputs.neutral.ids = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, neutral_word};
  inputs.neutral.counts.assign(11, 50);
  inputs.names = [](std::int64_t c) {
    return std::vector<std::string>{"concept " + std::to_string(c)};
  };
  inputs.concept_hash = [](std::int64_t c) { return "hash " + std::to_string(c); };
  inputs.factors = planted_factors;
  inputs.inputs_hash = "inputs";
  inputs.run_id = "run";
  return inputs;
}

Selection run_in(cluster::Communicator& comm, const std::filesystem::path& directory,
                 const Inputs& inputs, const Options& options = {}) {
  cluster::Session session(comm.split(0, comm.rank()), {1, 1});
  cluster::StopFlag stop;
  cluster::Timers timers;
  cluster::Context context{session, stop, timers, directory, true};
  return run(inputs, options, context);
}

void own_words_are_selected(cluster::Communicator& comm) {
  const SharedDirectory directory(comm);
  const auto selection = run_in(comm, directory.path(), planted_inputs());
  ASSERT_EQ(selection.concepts(), concepts);
  for (std::int64_t c = 0; c < concepts; ++c) {
    const auto selected = selection.selected(c);
    EXPECT_EQ(selected.features, Ids{0}) << c;
    EXPECT_EQ(selected.tokens, (Ids{own_word(c, 0), c <= 1 ? shared_word : own_word(c, 9)})) << c;
  }
}

void statistics_and_groups_are_written(cluster::Communicator& comm) {
  const SharedDirectory directory(comm);
  run_in(comm, directory.path(), planted_inputs());
  const cluster::StoreReader file(directory / "selection.h5", "selection", schema);
  EXPECT_EQ(file.read<std::int64_t>("concepts/group"), (std::vector<std::int64_t>{0, 1, 2, 3, 3}));
  const std::int64_t all = 100 + 101 + 102 + 103 + 104 + 100;
  EXPECT_EQ(file.read<std::int64_t>("concepts/background_sentences"),
            (std::vector<std::int64_t>{all - 100, all - 101, all - 102, all - 207, all - 207}));
  EXPECT_EQ(file.read<std::int64_t>("concepts/candidates"),
            (std::vector<std::int64_t>{11, 11, 10, 10, 10}));
  EXPECT_EQ(file.read_strings("concepts/hash").at(4), "hash 4");
  EXPECT_EQ(file.read_ragged<std::int32_t>("tokens/sentences").at(0), (Ids{60, 50}));
  const auto z = file.read_ragged<double>("tokens/z");
  EXPECT_DOUBLE_EQ(z.at(0).at(0), log_odds_z(60, 100, 0, all - 100));
  EXPECT_DOUBLE_EQ(z.at(0).at(1), log_odds_z(50, 100, 50, all - 100));
  EXPECT_DOUBLE_EQ(z.at(3).at(0), log_odds_z(60, 103, 0, all - 207));
  EXPECT_EQ(file.read<std::int32_t>("collisions/tokens"), (Ids{30 + 10, 30 + 19, shared_word}));
  EXPECT_EQ(file.read_ragged<std::int64_t>("collisions/concepts"),
            (std::vector<std::vector<std::int64_t>>{{3, 4}, {3, 4}, {0, 1}}));
  EXPECT_EQ(file.read<double>("features/contrast").size(), 15U);
  EXPECT_EQ(file.read<std::uint8_t>("features/selected"),
            (std::vector<std::uint8_t>{1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0}));
}

void names_make_groups(cluster::Communicator& comm) {
  const SharedDirectory directory(comm);
  auto inputs = planted_inputs();
  inputs.names = [](std::int64_t c) {
    return std::vector<std::string>{"concept " + std::to_string(c), c % 2 == 0 ? "Even" : "odd"};
  };
  Options options;
  options.group_similarity = 1.5;  // never
  run_in(comm, directory.path(), inputs, options);
  const cluster::StoreReader file(directory / "selection.h5", "selection", schema);
  EXPECT_EQ(file.read<std::int64_t>("concepts/group"), (std::vector<std::int64_t>{0, 1, 0, 1, 0}));
}

void ratio_falls_back(cluster::Communicator& comm) {
  const SharedDirectory directory(comm);
  Options options;
  options.method = "ratio";
  options.ratio = 1e11;
  const auto selection = run_in(comm, directory.path(), planted_inputs(), options);
  EXPECT_EQ(selection.selected(2).features, (Ids{0, 1, 2}));
  EXPECT_EQ(selection.selected(2).tokens, (Ids{own_word(2, 0), own_word(2, 9)}));
  const cluster::StoreReader file(directory / "selection.h5", "selection", schema);
  EXPECT_EQ(file.read<std::uint8_t>("concepts/fallback"), std::vector<std::uint8_t>(concepts, 1));
}

void concepts_without_factors_select_nothing(cluster::Communicator& comm) {
  const SharedDirectory directory(comm);
  auto inputs = planted_inputs();
  inputs.factors = [](std::int64_t c) { return c == 1 ? Factors{} : planted_factors(c); };
  const auto selection = run_in(comm, directory.path(), inputs);
  EXPECT_TRUE(selection.selected(1).tokens.empty());
  EXPECT_EQ(selection.selected(2).features, Ids{0});
}

void a_token_outside_of_the_vocabulary_is_refused(cluster::Communicator& comm) {
  const SharedDirectory directory(comm);
  auto inputs = planted_inputs();
  inputs.vocab = 60;
  EXPECT_THROW(run_in(comm, directory.path(), inputs), DataError);
}

const std::vector<CollectiveCheck> checks{
    {"OwnWordsAreSelected", own_words_are_selected},
    {"StatisticsAndGroupsAreWritten", statistics_and_groups_are_written},
    {"NamesMakeGroups", names_make_groups},
    {"RatioFallsBack", ratio_falls_back},
    {"ConceptsWithoutFactorsSelectNothing", concepts_without_factors_select_nothing},
    {"ATokenOutsideOfTheVocabularyIsRefused", a_token_outside_of_the_vocabulary_is_refused},
};

using SelectionStage = LocalCheck;
TEST_P(SelectionStage, Holds) { run(); }
INSTANTIATE_TEST_SUITE_P(Selection, SelectionStage, local_cases(checks, 6), LocalCheck::name);

}  // namespace
}  // namespace quench::selection
