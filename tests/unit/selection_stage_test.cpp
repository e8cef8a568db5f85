#include <gtest/gtest.h>

#include "cluster/error.hpp"
#include "stages/selection/selection.hpp"
#include "tests/support/collective_check.hpp"
#include "tests/support/shared_directory.hpp"

namespace quench::selection {
namespace {

using namespace testing;
using Ids = std::vector<std::int32_t>;

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

// Own words are " word11", which is no word of letters, but for these: 10 is " golf", which concept
// 0 alone has, and 70 to 77 what nobody's sentences or others' hold.
std::string planted_text(std::int32_t id) {
  switch (id) {
    case 10:
      return " golf";
    case 70:
      return "Golf";
    case 71:
      return " GOLFS";
    case 72:
      return "golfed";
    case 73:
      return "Golfes";
    case 74:
      return " golfx1";
    case 90:
      return " golfes";  // the neutral text has it, so that nobody's variant may be spelt so
    default:
      return " word" + std::to_string(id);
  }
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
  inputs.decoded = [](std::int32_t id) { return planted_text(id); };
  inputs.piece = inputs.decoded;
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
  Options options;
  options.standard_background = 0;
  run_in(comm, directory.path(), planted_inputs(), options);
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
  EXPECT_EQ(file.read<std::uint8_t>("concepts/alone"), std::vector<std::uint8_t>(concepts, 0));
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
  options.ratio_fallback = true;
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

void variants_are_found(cluster::Communicator& comm) {
  const SharedDirectory directory(comm);
  auto inputs = planted_inputs();
  // Concepts 2 to 4 have " GOLFS" in all of their sentences: too many for concept 0's variant.
  inputs.frequencies = [](std::int64_t c) {
    auto out = planted(c);
    if (c >= 2) {
      out.ids.push_back(71);
      out.counts.push_back(static_cast<std::int32_t>(out.sentences));
    }
    return out;
  };
  Options options;
  options.variant_cosine = 0.7;
  inputs.neighbours = [](std::span<const std::int32_t> tokens, double cosine) {
    EXPECT_EQ(cosine, 0.7);
    std::vector<std::vector<Neighbour>> near(tokens.size());
    for (std::size_t i = 0; i < tokens.size(); ++i)
      if (tokens[i] == 10) near[i] = {{70, 0.9}, {72, 0.8}, {73, 0.8}, {74, 0.75}, {0, 0.7}};
    return near;
  };
  const auto selection = run_in(comm, directory.path(), inputs, options);
  // 70 by its letters, 72 as a neighbour; 71 others use, 73 and 90 are spelt as a word of the
  // neutral text is, 74 is no word, 0 its own sentences hold.
  EXPECT_EQ(selection.selected(0).variants, (std::vector<Variant>{{70, 10}, {72, 10}}));
  EXPECT_TRUE(selection.selected(1).variants.empty());
  const cluster::StoreReader file(directory / "selection.h5", "selection", schema);
  EXPECT_EQ(file.read_ragged<std::uint8_t>("variants/kinship").at(0),
            (std::vector<std::uint8_t>{0, 1}));
  EXPECT_EQ(file.read_ragged<std::int32_t>("misses/ids").at(0).back(), 71);
  EXPECT_EQ(file.read_ragged<std::uint8_t>("misses/reason").at(0).back(), 3);
  options.variants = false;
  run_in(comm, directory.path(), inputs, options);
  EXPECT_TRUE(Selection(directory / "selection.h5").selected(0).variants.empty());
}

void near_misses_say_why(cluster::Communicator& comm) {
  const SharedDirectory directory(comm);
  run_in(comm, directory.path(), planted_inputs());
  const cluster::StoreReader file(directory / "selection.h5", "selection", schema);
  // Own words 11 to 18 of concept 2 (30 to 39, of which 30 and 39 are selected) have no feature.
  EXPECT_EQ(file.read_ragged<std::int32_t>("misses/ids").at(2),
            (Ids{31, 32, 33, 34, 35, 36, 37, 38}));
  EXPECT_EQ(file.read_ragged<std::uint8_t>("misses/reason").at(2), std::vector<std::uint8_t>(8, 2));
}

void a_concept_alone_has_general_words(cluster::Communicator& comm) {
  const SharedDirectory directory(comm);
  auto inputs = planted_inputs();
  inputs.concepts = 1;
  inputs.general = [](std::int64_t sentences) {
    EXPECT_EQ(sentences, 3000);
    return DocumentFrequencies{sentences, {10, 80}, {2000, 1}};
  };
  const auto selection = run_in(comm, directory.path(), inputs);
  EXPECT_EQ(selection.selected(0).tokens, Ids{shared_word});  // 10 is a common word
  const cluster::StoreReader file(directory / "selection.h5", "selection", schema);
  EXPECT_EQ(file.read<std::uint8_t>("concepts/alone"), std::vector<std::uint8_t>{1});
  EXPECT_EQ(file.read<std::int64_t>("concepts/background_sentences"),
            std::vector<std::int64_t>{3100});
  EXPECT_DOUBLE_EQ(file.read_ragged<double>("tokens/z").at(0).at(0),
                   log_odds_z(50, 100, 3000.0 / 3100, 3000));
}

void a_person_decides(cluster::Communicator& comm) {
  const SharedDirectory directory(comm);
  auto inputs = planted_inputs();
  inputs.manual = [](std::int64_t c) {
    return c == 1 ? Decision{{}, Ids{1, 20, 21}} : c == 2 ? Decision{Ids{0}, {}} : Decision{};
  };
  Options options;
  options.method = "manual";
  const auto selection = run_in(comm, directory.path(), inputs, options);
  EXPECT_TRUE(selection.selected(0).features.empty());
  EXPECT_EQ(selection.selected(1).features, (Ids{0, 1}));  // 21 has no coefficient
  EXPECT_EQ(selection.selected(1).tokens, (Ids{1, 20}));
  EXPECT_EQ(selection.selected(2).tokens, (Ids{30, 39}));
}

void a_judge_decides(cluster::Communicator& comm) {
  const SharedDirectory directory(comm);
  auto inputs = planted_inputs();
  inputs.judged = [](std::int64_t c) {
    std::vector<Judgement> judged(3);
    if (c == 0) judged[0] = {Judged::yes, 0.9, "golf"};
    if (c == 1) judged[0] = {Judged::yes, 0.8, "unsure"};
    if (c == 2) judged[0] = {Judged::no, 0.99, "no"};
    if (c == 3) judged[0] = {Judged::missing, 0, ""};
    if (c == 4) judged.clear();
    return judged;
  };
  Options options;
  options.method = "judge";
  const auto selection = run_in(comm, directory.path(), inputs, options);
  EXPECT_EQ(selection.selected(0).features, Ids{0});
  for (const std::int64_t c : {1, 2, 3, 4}) EXPECT_TRUE(selection.selected(c).tokens.empty()) << c;
  const cluster::StoreReader file(directory / "selection.h5", "selection", schema);
  EXPECT_EQ(file.read<std::uint8_t>("features/judged"),
            (std::vector<std::uint8_t>{1, 0, 0, 1, 0, 0, 2, 0, 0, 3, 0, 0, 0, 0, 0}));
  EXPECT_EQ(file.read_strings("features/description").at(3), "unsure");
}

const std::vector<CollectiveCheck> checks{
    {"OwnWordsAreSelected", own_words_are_selected},
    {"StatisticsAndGroupsAreWritten", statistics_and_groups_are_written},
    {"NamesMakeGroups", names_make_groups},
    {"RatioFallsBack", ratio_falls_back},
    {"VariantsAreFound", variants_are_found},
    {"NearMissesSayWhy", near_misses_say_why},
    {"AConceptAloneHasGeneralWords", a_concept_alone_has_general_words},
    {"APersonDecides", a_person_decides},
    {"AJudgeDecides", a_judge_decides},
    {"ConceptsWithoutFactorsSelectNothing", concepts_without_factors_select_nothing},
    {"ATokenOutsideOfTheVocabularyIsRefused", a_token_outside_of_the_vocabulary_is_refused},
};

using SelectionStage = LocalCheck;
TEST_P(SelectionStage, Holds) { run(); }
INSTANTIATE_TEST_SUITE_P(Selection, SelectionStage, local_cases(checks, 6), LocalCheck::name);

}  // namespace
}  // namespace quench::selection
