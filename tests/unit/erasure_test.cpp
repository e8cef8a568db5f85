#include "stages/erasure/erasure.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "cluster/error.hpp"
#include "stages/erasure/search.hpp"
#include "tests/support/collective_check.hpp"
#include "tests/support/shared_directory.hpp"
#include "tests/unit/small_factors.hpp"

namespace quench::erasure {
namespace {

using namespace erasure::testing;
using namespace quench::testing;
using Ids = std::vector<std::int32_t>;
using Values = std::vector<float>;

// Concepts 0, 1 and 4 can be edited, best at 1, 2 and 5; 2 is unknown to the model, 3 has no
// features. All edit token 20. The joint edit is coherent from a factor of 0.6 on.
constexpr std::int64_t concepts = 5;

Factors factors_of(std::int64_t c) {
  Factors factors;
  factors.tokens = {static_cast<std::int32_t>(10 + c), 20};
  factors.width = 3;
  factors.rank = 1;
  factors.features = {1, static_cast<float>(c), -1};
  factors.rows = {0, 1};
  factors.coefficients = {2, static_cast<float>(1 + c)};
  return factors;
}

CellScores alone(cluster::Communicator& group, std::int64_t c, const model::RowDeltas&,
                 double strength) {
  group.barrier();
  auto scores = scores_of(1 / (1 + std::abs(strength - 1 - static_cast<double>(c))));
  scores.measured = c;
  scores.spreads.back() = {0.125, 0.875, 12 + c};
  return scores;
}

// Where a figure of a cell stands in its row.
std::size_t column(const std::string& name) {
  const auto columns = cell_figures();
  return static_cast<std::size_t>(std::ranges::find(columns, name) - columns.begin());
}

// Draws of a concept are all alike: the means vary by the concepts alone.
CellScores joint(cluster::Communicator& group, std::int64_t c, const model::RowDeltas& edit,
                 double factor, std::span<const std::int64_t> times) {
  group.barrier();
  EXPECT_EQ(edit.ids, (Ids{10, 11, 14, 20}));
  EXPECT_EQ(std::ssize(times), resamples);
  auto scores = scores_of(0.5, 1, factor > 0.7 ? 0.95 - 0.1 * static_cast<double>(c) : 0.95);
  scores.efficacy = static_cast<double>(c);
  scores.draws.assign(times.size(), scores.told());
  return scores;
}

Inputs planted_inputs() {
  Inputs inputs;
  inputs.concepts = concepts;
  inputs.concept_hash = [](std::int64_t c) { return "hash " + std::to_string(c); };
  inputs.factors = factors_of;
  inputs.selected = [](std::int64_t c) {
    return c == 3 ? Selected{} : Selected{{0}, factors_of(c).tokens};
  };
  inputs.known = {true, true, false, true, true};
  inputs.group = [](std::int64_t c) { return c == 4 ? 0 : c; };
  // Rows 10 and 20 are of length 3 t / 4.
  static const std::vector<float> embedding = [] {
    std::vector<float> rows;
    for (int t = 0; t < 32; ++t)
      for (const float x : {0.5f, 0.5f, 0.25f}) rows.push_back(static_cast<float>(t) * x);
    return rows;
  }();
  inputs.refit = [](std::int64_t) {
    return Refit{false, 0, [](std::int32_t t) {
                   return std::span<const float>(embedding).subspan(3 * t, 3);
                 }};
  };
  inputs.scale = 2;
  inputs.score_alone = alone;
  inputs.score_joint = joint;
  inputs.inputs_hash = "inputs";
  inputs.run_id = "run";
  return inputs;
}

Edits run_in(cluster::Communicator& comm, const std::filesystem::path& directory,
             const Inputs& inputs, const Options& options = {}, int group_size = 1) {
  cluster::Session session(comm.split(0, comm.rank()), {group_size, 1});
  cluster::StopFlag stop;
  cluster::Timers timers;
  cluster::Context context{session, stop, timers, directory, true};
  return run(inputs, options, context);
}

void expect_planted_file(const std::filesystem::path& path) {
  const cluster::StoreReader file(path, "erasure", schema);
  EXPECT_EQ(file.read_ragged<std::int32_t>("edits/tokens"),
            (std::vector<Ids>{{10, 20}, {11, 20}, {12, 20}, {}, {14, 20}}));
  EXPECT_EQ(file.read_ragged<float>("edits/values").at(4), (Values{1, 4, -1, 2.5f, 10, -2.5f}));
  EXPECT_EQ(file.read<double>("edits/strength"), (std::vector<double>{1, 2, 0, 0, 5}));
  EXPECT_EQ(file.read_ragged<float>("edits/row_norms").at(0), (Values{7.5f, 15}));
  EXPECT_EQ(file.read_ragged<std::uint8_t>("edits/is_variant").at(1),
            (std::vector<std::uint8_t>{0, 0}));
  EXPECT_EQ(file.read<std::int64_t>("edits/group"), (std::vector<std::int64_t>{0, 1, 2, 3, 0}));
  EXPECT_EQ(file.read_ragged<std::int32_t>("edits/shared"),
            (std::vector<Ids>{{20}, {20}, {}, {}, {20}}));
  EXPECT_EQ(file.read_ragged<std::int32_t>("edits/dropped"), std::vector<Ids>(5));
  EXPECT_EQ(file.read<std::int64_t>("overlaps/first"), (std::vector<std::int64_t>{0, 0, 1}));
  EXPECT_EQ(file.read<std::int64_t>("overlaps/second"), (std::vector<std::int64_t>{1, 4, 4}));
  // Rows 10 and 20 are (1, 0, -1) and (0.5, 0, -0.5); 11 and 20 (1, 1, -1) twice.
  EXPECT_NEAR(file.read<double>("overlaps/cosine").at(0), 1 / std::sqrt(2.5 * 6), 1e-6);
  EXPECT_EQ(file.read_strings("edits/status"),
            (std::vector<std::string>{"ok", "ok", "unknown_to_model", "no_features", "ok"}));
  std::vector<std::int64_t> owners;
  for (const std::int64_t c : {0, 1, 4}) owners.insert(owners.end(), 7, c);
  EXPECT_EQ(file.read<std::int64_t>("cells/concept"), owners);
  EXPECT_EQ(file.read_rows<double>("cells/strength", {7, 14}), Options{}.strengths);
  EXPECT_EQ(file.read<std::uint8_t>("cells/passed"), std::vector<std::uint8_t>(21, 1));
  const auto scores = file.read_rows<double>("cells/scores", {16, 17});  // concept 4 at 2
  ASSERT_EQ(scores.size(), cell_figures().size());
  EXPECT_DOUBLE_EQ(scores[column("harmonic")], 1 / 4.0);
  EXPECT_EQ(scores[column("harmonic_low")], 0.125);
  EXPECT_EQ(scores[column("harmonic_high")], 0.875);
  EXPECT_EQ(scores[column("harmonic_n")], 16);
  EXPECT_EQ(scores[column("measured")], 4);
  EXPECT_EQ(file.read_strings("cells/figures"), cell_figures());
  EXPECT_EQ(file.read<double>("joint/factors"), (std::vector<double>{1, 0.8, 0.6}));
  const auto tried = file.read_rows<double>("joint/scores", {0, 1});
  EXPECT_NEAR(tried[column("efficacy")], 5 / 3.0, 1e-12);  // means over the edited concepts
  EXPECT_NEAR(tried[column("coherence")], 0.95 - 0.1 * 5 / 3.0, 1e-12);
  // Over concepts of 0, 1 and 4.
  EXPECT_EQ(tried[column("efficacy_n")], 3);
  EXPECT_GE(tried[column("efficacy_low")], 0);
  EXPECT_LE(tried[column("efficacy_low")], 1);
  EXPECT_GE(tried[column("efficacy_high")], 3);
  EXPECT_LE(tried[column("efficacy_high")], 4);
  EXPECT_EQ(tried[column("general_left_low")], 1);  // of all alike
  EXPECT_EQ(file.number_attribute("/", "joint_factor"), 0.6);
  EXPECT_EQ(file.text_attribute("/", "joint_status"), "ok");
  EXPECT_EQ(file.number_attribute("/", "failures"), 0);
}

void the_file_is_the_same(cluster::Communicator& comm) {
  const SharedDirectory directory(comm);
  run_in(comm, directory.path(), planted_inputs());
  expect_planted_file(directory / "edits.h5");
}

void groups_give_the_same(cluster::Communicator& comm) {
  const SharedDirectory directory(comm);
  run_in(comm, directory.path(), planted_inputs(), {}, comm.size());
  expect_planted_file(directory / "edits.h5");
}

void subsets_are_replayed(cluster::Communicator& comm) {
  const SharedDirectory directory(comm);
  const auto edits = run_in(comm, directory.path(), planted_inputs());
  ASSERT_EQ(edits.concepts(), concepts);
  EXPECT_EQ(edits.edit(1).values, (Values{1, 1, -1, 1, 1, -1}));
  const std::vector<std::int64_t> chosen = {0, 2, 4};  // 2 is not edited
  const auto joint = edits.joint(chosen);
  EXPECT_EQ(joint.width, 3);
  EXPECT_EQ(joint.ids, (Ids{10, 14, 20}));
  // Token 20: 0.6 x 1 x (0.5, 0, -0.5) + 0.6 x 5 x (2.5, 10, -2.5).
  const Values expected = {0.6f, 0, -0.6f, 3, 12, -3, 7.8f, 30, -7.8f};
  for (std::size_t i = 0; i < 9; ++i) EXPECT_NEAR(joint.values.at(i), expected[i], 1e-6) << i;
  EXPECT_TRUE(edits.joint({}).ids.empty());
}

void the_strongest_is_replayed(cluster::Communicator& comm) {
  const SharedDirectory directory(comm);
  Options options;
  options.shared_tokens = "strongest";
  const auto edits = run_in(comm, directory.path(), planted_inputs(), options);
  const std::vector<std::int64_t> chosen = {0, 4};
  const auto joint = edits.joint(chosen);
  EXPECT_NEAR(joint.values.at(6), 7.5f, 1e-6);
  EXPECT_NEAR(joint.values.at(7), 30, 1e-5);
}

void skipped_tokens_stay(cluster::Communicator& comm) {
  const SharedDirectory directory(comm);
  auto inputs = planted_inputs();
  inputs.score_joint = [](cluster::Communicator& group, std::int64_t, const model::RowDeltas& edit,
                          double, std::span<const std::int64_t>) {
    group.barrier();
    EXPECT_EQ(edit.ids, (Ids{10, 11, 14}));
    return scores_of(0.5);
  };
  Options options;
  options.shared_tokens = "skip";
  const auto edits = run_in(comm, directory.path(), inputs, options);
  const cluster::StoreReader file(directory / "edits.h5", "erasure", schema);
  EXPECT_EQ(file.read_ragged<std::int32_t>("edits/dropped"),
            (std::vector<Ids>{{20}, {20}, {}, {}, {20}}));
  EXPECT_EQ(edits.joint(std::vector<std::int64_t>{0, 1}).ids, (Ids{10, 11}));
  EXPECT_EQ(edits.joint(std::vector<std::int64_t>{0, 4}).ids, (Ids{10, 14, 20}));  // one group
}

void no_factor_passes(cluster::Communicator& comm) {
  const SharedDirectory directory(comm);
  Options options;
  options.joint_min_coherence = 0.96;
  const auto edits = run_in(comm, directory.path(), planted_inputs(), options);
  EXPECT_EQ(edits.joint_factor(), 0);
  EXPECT_TRUE(edits.joint(std::vector<std::int64_t>{0, 1}).ids.empty());
  const cluster::StoreReader file(directory / "edits.h5", "erasure", schema);
  EXPECT_EQ(file.read<double>("joint/factors"), options.back_off);
  EXPECT_EQ(file.text_attribute("/", "joint_status"), "gated");
}

void an_unknown_concept_is_edited_where_asked_for(cluster::Communicator& comm) {
  const SharedDirectory directory(comm);
  auto inputs = planted_inputs();
  inputs.score_joint = [](cluster::Communicator& group, std::int64_t, const model::RowDeltas& edit,
                          double, std::span<const std::int64_t>) {
    group.barrier();
    EXPECT_EQ(edit.ids, (Ids{10, 11, 12, 14, 20}));
    return scores_of(0.5);
  };
  Options options;
  options.unknown = "edit";
  const auto edits = run_in(comm, directory.path(), inputs, options);
  EXPECT_EQ(edits.status(2), "ok");
  EXPECT_EQ(edits.strength(2), 2);  // the nearest to 3
  EXPECT_EQ(edits.status(3), "no_features");
}

void failures_are_recorded(cluster::Communicator& comm) {
  const SharedDirectory directory(comm);
  auto inputs = planted_inputs();
  inputs.known = {false, true, false, false, false};
  inputs.score_alone = [](auto&, auto...) -> CellScores { throw DataError("planted"); };
  const auto edits = run_in(comm, directory.path(), inputs);
  EXPECT_EQ(edits.status(1), "failed");
  EXPECT_EQ(edits.status(0), "unknown_to_model");
  EXPECT_EQ(edits.strength(1), 0);
  const cluster::StoreReader file(directory / "edits.h5", "erasure", schema);
  EXPECT_EQ(file.number_attribute("/", "failures"), 1);
  EXPECT_EQ(file.text_attribute("/", "joint_status"), "nothing_to_do");
  EXPECT_TRUE(file.read<double>("joint/factors").empty());
}

const std::vector<CollectiveCheck> checks{
    {"TheFileIsTheSame", the_file_is_the_same},
    {"GroupsGiveTheSame", groups_give_the_same},
    {"SubsetsAreReplayed", subsets_are_replayed},
    {"TheStrongestIsReplayed", the_strongest_is_replayed},
    {"SkippedTokensStay", skipped_tokens_stay},
    {"NoFactorPasses", no_factor_passes},
    {"AnUnknownConceptIsEditedWhereAskedFor", an_unknown_concept_is_edited_where_asked_for},
    {"FailuresAreRecorded", failures_are_recorded},
};

using ErasureStage = LocalCheck;
TEST_P(ErasureStage, Holds) { run(); }
INSTANTIATE_TEST_SUITE_P(Erasure, ErasureStage, local_cases(checks), LocalCheck::name);

}  // namespace
}  // namespace quench::erasure
