#include "pipeline/scoring.hpp"

#include <cmath>

#include "cluster/store.hpp"
#include "pipeline/attack_scorer.hpp"
#include "tests/unit/corpus_fixture.hpp"
#include "tests/unit/tiny_model.hpp"

namespace quench::pipeline {
namespace {

using corpus::testing::json;
using corpus::testing::make_concept;
using corpus::testing::make_question;

constexpr std::size_t own_left = 4, similar_left = 5, general_left = 3, specificity = 1,
                      harmonic = 6;  // told figures

// Questions that an untouched model is said to answer rightly, with a margin of 2, about a concept
// whose edit is of the token 'z': half of its 16 train questions hold it.
class ScorerTest : public corpus::testing::CorpusTest {
 protected:
  void SetUp() override {
    auto record = make_concept("D");
    for (const char* group : {"concept", "similar"}) {
      auto questions = json::array();
      for (int i = 0; i < 16; ++i)
        questions.push_back(make_question(std::string(1, group[0]) + std::to_string(i) +
                                              (group[0] == 'c' && i % 2 == 0 ? "z?" : "?"),
                                          i % 3 == 0 ? "red" : "blue"));
      record["questions"][group]["train"] = questions;
    }
    write("concepts.jsonl", {record});
    index_ = corpus::index_catalog(catalog_);
    corpus_.emplace(make());
    config_ = model::testing::tiny_config(model::Architecture::llama);
    config_.vocab = 303;
    config_.max_position = 1024;
    weights_ = model::testing::random_weights(config_);
    model_.emplace(LoadedModel{config_, weights_, model::Transformer(config_, weights_)});
    meter_.emplace(model_->base, *tokenizer_, evaluation::MeasureOptions{});
    write_baseline();
    options_.resamples = 50;
  }

  static Measurement known(const Probe& probe) {
    Measurement said;
    if (probe.kind == ProbeKind::choice || probe.kind == ProbeKind::letter) {
      said.values.assign(4, -3);
      said.values[static_cast<std::size_t>(probe.correct)] = -1;
    } else if (probe.kind == ProbeKind::instruction) {
      said = {{4, 2, 0, 1, 1}, {65, 66}, false};
    } else {
      said.values = {1, 1, 1, 1};
    }
    return said;
  }

  void write_baseline() {
    auto probes = corpus_->probes(0);
    for (auto& probe : corpus_->shared_probes()) probes.push_back(std::move(probe));
    std::vector<std::vector<float>> values;
    std::vector<std::vector<std::int32_t>> answers;
    for (const auto& probe : probes) {
      const auto said = known(probe);
      values.push_back(said.values);
      answers.push_back(said.answer);
    }
    cluster::StoreWriter store(*self_, scratch_ / "baseline.h5",
                               {"baseline", evaluation::schema, "run", "inputs"});
    store.write_ragged<float>("measurements/values", values);
    store.write_ragged<std::int32_t>("measurements/answers", answers);
    store.finish();
    baseline_.emplace(scratch_ / "baseline.h5", "baseline", "measurements");
  }

  AttackScorer attack_scorer() const {
    return {*corpus_, *baseline_, evaluation::rules_of(options_)};
  }
  Scorer scorer() const { return {*corpus_, *baseline_, *meter_, *model_, options_, 0.9}; }
  model::RowDeltas edit() const {
    return {config_.width, {'z'}, std::vector<float>(static_cast<std::size_t>(config_.width), 2)};
  }

  // What is said to the attack's probes, in their order, as figures.
  std::vector<Estimate> after_attack(const std::vector<std::vector<float>>& said) const {
    relearning::Said measured;
    for (const auto& values : said) measured.push_back({values, {}, false});
    return attack_scorer().figures({0, {0}, {measured}}, options_.resamples);
  }
  // As a generated letter: right, or none.
  std::vector<float> right(std::size_t probe) const {
    return {static_cast<float>(attack_scorer().probes(0).at(probe).correct)};
  }

  const std::unique_ptr<cluster::Communicator> self_ = cluster::make_self_communicator();
  std::optional<corpus::Corpus> corpus_;
  model::ModelConfig config_;
  model::Weights weights_;
  std::optional<LoadedModel> model_;
  std::optional<evaluation::Meter> meter_;
  std::optional<evaluation::Measurements> baseline_;
  evaluation::Options options_;
};

TEST_F(ScorerTest, ACellTellsItemsAndIntervals) {
  const auto cell = scorer().alone(*self_, 0, edit(), 1);
  EXPECT_EQ(cell.spreads[own_left].n, 16);
  EXPECT_EQ(cell.spreads[similar_left].n, 16);
  EXPECT_EQ(cell.spreads[general_left].n, 1);
  EXPECT_EQ(cell.spreads[specificity].n, 17);
  EXPECT_GE(cell.spreads[harmonic].n, 33);
  ASSERT_EQ(cell.draws.size(), static_cast<std::size_t>(erasure::resamples));
  const auto told = cell.told();
  for (std::size_t f = 0; f < told.size(); ++f) {
    EXPECT_LE(cell.spreads[f].low, told[f]) << f;
    EXPECT_GE(cell.spreads[f].high, told[f]) << f;
  }
  // Half of the own questions changed, none of the others.
  EXPECT_LT(cell.spreads[own_left].low, cell.spreads[own_left].high);
  EXPECT_EQ(cell.similar_left, 1);
  EXPECT_EQ(cell.spreads[similar_left].low, 1);
  EXPECT_EQ(cell.spreads[similar_left].high, 1);
}

TEST_F(ScorerTest, ACellThatEndedTellsWhatItMeasured) {
  options_.early_stop = true;
  options_.max_own_left = 0;
  const auto cell = scorer().alone(*self_, 0, edit(), 1);
  ASSERT_GT(cell.own_left, 0);
  EXPECT_EQ(cell.spreads[own_left].n, 16);
  EXPECT_LT(cell.spreads[own_left].low, cell.spreads[own_left].high);
  EXPECT_EQ(cell.spreads[general_left].n, 1);
  EXPECT_EQ(cell.harmonic, 0);
  EXPECT_TRUE(std::isnan(cell.specificity));
  for (const auto f : {specificity, similar_left, harmonic}) {
    EXPECT_TRUE(std::isnan(cell.spreads[f].low)) << f;
    EXPECT_EQ(cell.spreads[f].n, 0) << f;
  }
  EXPECT_TRUE(cell.draws.empty());
}

TEST_F(ScorerTest, AJointCellHasDrawsForAMean) {
  const auto alone = scorer().alone(*self_, 0, edit(), 1);
  std::vector<std::int64_t> times(erasure::resamples, 1);
  times[0] = 0;
  times[1] = 2;
  const auto joint = scorer().joint(*self_, 0, edit(), 1, times);
  EXPECT_EQ(joint.told(), alone.told());
  ASSERT_EQ(joint.draws.size(), alone.draws.size());
  EXPECT_TRUE(std::isnan(joint.draws[0][own_left]));
  EXPECT_EQ(joint.draws[1][similar_left], 1);
  EXPECT_NE(joint.draws[1][own_left], alone.draws[1][own_left]);  // with a second draw
  for (std::size_t b = 2; b < times.size(); ++b) EXPECT_EQ(joint.draws[b], alone.draws[b]) << b;
}

TEST_F(ScorerTest, AttacksAreMeasuredInTheFormThatDecides) {
  const auto kinds_of = [&](const std::string& form) {
    options_.form = form;
    std::string kinds;
    for (const auto& probe : attack_scorer().probes(0)) {
      EXPECT_EQ(probe.split, Split::test);
      kinds += "clo"[static_cast<int>(probe.kind)];
    }
    return kinds;
  };
  EXPECT_EQ(kinds_of("choice"), "ccc");
  EXPECT_EQ(kinds_of("letter"), "lll");
  EXPECT_EQ(kinds_of("open"), "ooo");
}

// {own accuracy, own margin, similar accuracy, similar margin, own_left, similar_left}; of two own
// questions one is answered, of one similar question all.
TEST_F(ScorerTest, LettersAfterAnAttackAreReadAsInTheEvaluation) {
  options_.form = "letter";
  options_.objective = "accuracy";
  options_.invalid = "wrong";
  const std::vector<std::vector<float>> said{right(0), {-1}, right(2)};
  auto figures = after_attack(said);
  EXPECT_DOUBLE_EQ(figures[0].value, 0.5);
  EXPECT_EQ(figures[0].n, 2);
  EXPECT_DOUBLE_EQ(figures[2].value, 1);
  EXPECT_EQ(figures[2].n, 1);
  EXPECT_NEAR(figures[4].value, 1.0 / 3, 1e-12);
  EXPECT_DOUBLE_EQ(figures[5].value, 1);
  for (const std::size_t margin : {1, 3}) EXPECT_TRUE(std::isnan(figures[margin].value));
  options_.invalid = "chance";
  figures = after_attack(said);
  EXPECT_DOUBLE_EQ(figures[0].value, 0.625);
  EXPECT_DOUBLE_EQ(figures[4].value, 0.5);
}

TEST_F(ScorerTest, OpenAnswersAndMarginsAfterAnAttack) {
  options_.objective = "accuracy";
  options_.form = "open";
  auto figures = after_attack({{0, 0.5F}, {1, 1}, {1, 1}});
  EXPECT_DOUBLE_EQ(figures[0].value, 0.5);
  EXPECT_DOUBLE_EQ(figures[4].value, 0.5);
  EXPECT_DOUBLE_EQ(figures[5].value, 1);
  EXPECT_TRUE(std::isnan(figures[1].value));
  options_.objective = "margin";
  options_.form = "choice";
  const std::vector<float> level(4, -3);
  figures = after_attack({level, level, known(attack_scorer().probes(0).at(2)).values});
  EXPECT_NEAR(figures[1].value, 0, 1e-6);
  EXPECT_NEAR(figures[3].value, 2, 1e-6);
  EXPECT_NEAR(figures[4].value, 0, 1e-6);
  EXPECT_NEAR(figures[5].value, 1, 1e-6);
}

}  // namespace
}  // namespace quench::pipeline
