#include "stages/relearning/relearning.hpp"

#include <cmath>
#include <limits>
#include <mutex>
#include <set>

#include "cluster/error.hpp"
#include "cluster/random.hpp"
#include "model/score.hpp"
#include "stages/relearning/adamw.hpp"
#include "stages/relearning/trainee.hpp"
#include "tests/unit/tiny_model.hpp"

namespace quench::relearning {
namespace {

using namespace model::testing;

// Paragraphs hold the ids 2 to 29; 3 and 40 are edited.
TokenRows make_paragraphs(std::int64_t count) {
  const cluster::KeyedRandom random(1, "paragraphs");
  TokenRows rows;
  for (std::uint64_t i = 0; i < static_cast<std::uint64_t>(count); ++i) {
    rows.emplace_back();
    for (std::uint64_t j = 0; j < 5 + i % 4; ++j) {
      rows.back().push_back(static_cast<std::int32_t>(2 + random.below(100 * i + j, 28)));
    }
    rows.back()[1] = 3;
  }
  return rows;
}

model::RowOverlay make_edit(const model::ModelConfig& config, const model::Weights& base) {
  const model::RowDeltas deltas{
      config.width, {3, 40}, std::vector<float>(static_cast<std::size_t>(2 * config.width), 2)};
  return model::make_overlay(base.embedding, config.stored_type, deltas, 1);
}

std::vector<Probe> make_probes() {
  std::vector<Probe> probes(3);
  for (std::int32_t i = 0; i < 3; ++i) {
    auto& probe = probes[static_cast<std::size_t>(i)];
    probe.id = i;
    probe.context = {5 + i, 3, 9};
    probe.continuations = {{4, 7}, {40, 8 + i}, {11}, {12, 13, 14}};
  }
  return probes;
}

class Attack : public ::testing::Test {
 protected:
  Attack() {
    inputs_.concepts = 2;
    inputs_.concept_hash = [](std::int64_t c) { return "hash " + std::to_string(c); };
    inputs_.paragraphs = [](std::int64_t) { return make_paragraphs(6); };
    inputs_.probes = [](std::int64_t) { return make_probes(); };
    inputs_.measure = [](const model::Transformer& model, std::span<const Probe> probes) {
      std::vector<Measurement> said;
      for (const auto& probe : probes) {
        const std::vector<model::ScoreItem> item{{probe.context, probe.continuations}};
        said.emplace_back();
        const auto scores = model::score(model, item);
        for (const auto& s : scores[0]) said.back().values.push_back(static_cast<float>(s.mean()));
      }
      return said;
    };
    inputs_.config = &config_;
    inputs_.base = random_weights(config_);
    inputs_.joint = make_edit(config_, inputs_.base);
    options_.steps = 12;
    options_.points = 3;
    options_.learning_rate = 3e-3;
    options_.max_length = 16;
  }

  std::vector<Point> attack(bool erased = true, std::int64_t seed = 0) const {
    return attack(*cluster::make_self_communicator(), erased, seed);
  }
  std::vector<Point> attack(cluster::Communicator& group, bool erased = true,
                            std::int64_t seed = 0) const {
    return relearning::attack(group, inputs_, 0, erased, seed, options_, stop_);
  }

  model::ModelConfig config_ = tiny_config(model::Architecture::llama);
  Inputs inputs_;
  Options options_;
  cluster::StopFlag stop_;
};

// The largest difference of two curves, losses and measurements.
double distance(const std::vector<Point>& a, const std::vector<Point>& b) {
  if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
  double largest = 0;
  for (std::size_t p = 0; p < a.size(); ++p) {
    if (p > 0) largest = std::max(largest, std::abs(a[p].loss - b[p].loss));
    for (std::size_t i = 0; i < a[p].measurements.size(); ++i) {
      for (std::size_t v = 0; v < a[p].measurements[i].values.size(); ++v) {
        largest = std::max(largest, std::abs(static_cast<double>(a[p].measurements[i].values[v]) -
                                             b[p].measurements.at(i).values.at(v)));
      }
    }
  }
  return largest;
}

TEST_F(Attack, LossFalls) {
  options_.steps = 60;
  const auto curve = attack();
  ASSERT_EQ(curve.size(), 4U);
  EXPECT_LT(curve[2].loss, curve[1].loss);
  EXPECT_LT(curve[3].loss, curve[2].loss);
  EXPECT_LT(curve[3].loss, 0.7 * curve[1].loss);
}

TEST_F(Attack, StartsAtTheErasedModelOrTheUntouchedOne) {
  const auto erased = attack(true), control = attack(false);
  EXPECT_GT(distance(erased, control), 1e-2);
  const model::Transformer base(config_, inputs_.base),
      edited(config_, inputs_.base, inputs_.joint);
  const auto probes = make_probes();
  const auto expect_start = [&](const Point& start, const model::Transformer& model) {
    const auto said = inputs_.measure(model, probes);
    for (std::size_t i = 0; i < said.size(); ++i) {
      for (std::size_t v = 0; v < 4; ++v) {
        EXPECT_NEAR(start.measurements[i].values[v], said[i].values[v], 1e-5);
      }
    }
  };
  expect_start(erased[0], edited);
  expect_start(control[0], base);
}

TEST_F(Attack, LeavesTheModelAsItWas) {
  const auto embedding = inputs_.base.embedding.clone(), q = inputs_.base.layers[0].q.clone();
  const auto rows = inputs_.joint.rows.clone();
  attack();
  EXPECT_EQ(largest_difference(embedding, inputs_.base.embedding), 0);
  EXPECT_EQ(largest_difference(q, inputs_.base.layers[0].q), 0);
  EXPECT_EQ(largest_difference(rows, inputs_.joint.rows), 0);
}

TEST_F(Attack, PointsAreEvenlySpaced) {
  const auto steps_of = [&](std::int64_t steps, std::int64_t points) {
    options_.steps = steps;
    options_.points = points;
    std::vector<std::int64_t> at;
    for (const auto& point : attack()) at.push_back(point.step);
    return at;
  };
  using Steps = std::vector<std::int64_t>;
  EXPECT_EQ(steps_of(10, 4), (Steps{0, 3, 5, 8, 10}));
  EXPECT_EQ(steps_of(6, 3), (Steps{0, 2, 4, 6}));
  EXPECT_EQ(steps_of(2, 5), (Steps{0, 1, 2}));
  EXPECT_EQ(steps_of(7, 1), (Steps{0, 7}));
  EXPECT_TRUE(std::isnan(attack()[0].loss));
}

TEST(Steps, AreOfEpochsWhereThereAreSome) {
  Options options;
  EXPECT_EQ(steps_of(options, 6), 200);
  options.epochs = 2;
  EXPECT_EQ(steps_of(options, 6), 12);
  EXPECT_EQ(steps_of(options, 100), 200);
  options.batch = 5;
  EXPECT_EQ(steps_of(options, 6), 3);  // 12 paragraphs
  options.epochs = 0;
  EXPECT_EQ(steps_of(options, 6), 200);
}

TEST_F(Attack, EpochsAreOfTheParagraphsThatAreUsed) {
  options_.epochs = 3;
  options_.points = 2;
  const auto steps = [&] {
    std::vector<std::int64_t> at;
    for (const auto& point : attack()) at.push_back(point.step);
    return at;
  };
  using Steps = std::vector<std::int64_t>;
  EXPECT_EQ(steps(), (Steps{0, 9, 18}));
  options_.paragraphs = 4;
  EXPECT_EQ(steps(), (Steps{0, 6, 12}));
  inputs_.paragraphs = [](std::int64_t) {
    auto rows = make_paragraphs(3);
    rows[1] = {5};  // without a target
    return rows;
  };
  EXPECT_EQ(steps(), (Steps{0, 3, 6}));
  // One pass over all, as so many steps are.
  options_.epochs = 1;
  inputs_.paragraphs = [](std::int64_t) { return make_paragraphs(6); };
  options_.paragraphs = 100;
  const auto epoch = attack();
  options_.epochs = 0;
  options_.steps = 6;
  EXPECT_EQ(distance(attack(), epoch), 0);
}

TEST_F(Attack, OneLossIsTheMeanOfItsSteps) {
  options_.steps = options_.points = 4;
  const auto each = attack();
  options_.points = 1;
  const auto all = attack();
  EXPECT_NEAR(all[1].loss, (each[1].loss + each[2].loss + each[3].loss + each[4].loss) / 4, 1e-6);
}

TEST_F(Attack, KeyedBySeed) {
  EXPECT_EQ(distance(attack(true, 1), attack(true, 1)), 0);
  EXPECT_GT(distance(attack(true, 1), attack(true, 2)), 1e-4);
}

TEST_F(Attack, EveryParagraphOnceAnEpoch) {
  options_.learning_rate = 1e-9;  // so that losses do not depend on the order
  options_.steps = 6;
  options_.points = 1;
  for (const auto& [batch, tolerance] : {std::pair(1, 1e-5), std::pair(6, 1e-5)}) {
    options_.batch = batch;
    options_.steps = 6 / batch;
    const model::Transformer edited(config_, inputs_.base, inputs_.joint);
    double sum = 0, mean = 0, targets = 0;
    for (const auto& row : make_paragraphs(6)) {
      const double loss = row_loss(edited, row, 0, 0).item<double>();
      sum += loss;
      targets += static_cast<double>(row.size() - 1);
      mean += loss / static_cast<double>(row.size() - 1) / 6;
    }
    EXPECT_NEAR(attack()[1].loss, batch == 1 ? mean : sum / targets, tolerance);
  }
}

TEST_F(Attack, AGroupSharesTheBatch) {
  options_.batch = 2;
  const auto alone = attack();
  for (int ranks = 2; ranks <= 3; ++ranks) {  // a rank of three has no row
    std::mutex mutex;
    std::vector<std::vector<Point>> curves;
    cluster::run_on_threads(ranks, [&](cluster::Communicator& group) {
      auto curve = attack(group);
      const std::lock_guard lock(mutex);
      curves.push_back(std::move(curve));
    });
    for (const auto& curve : curves) EXPECT_LT(distance(curve, alone), 1e-4) << ranks;
  }
}

TEST_F(Attack, StopsWhenAsked) {
  cluster::StopFlag::raise();
  EXPECT_THROW(attack(), Stopped);
  cluster::StopFlag::clear();
  EXPECT_NO_THROW(attack());
}

TEST_F(Attack, CutsAndCountsParagraphs) {
  const auto whole = make_paragraphs(6);
  options_.max_length = 4;
  options_.paragraphs = 3;
  const auto cut = attack();
  inputs_.paragraphs = [&](std::int64_t) {
    TokenRows rows = {{5}};  // without a target
    for (std::size_t i = 0; i < 3; ++i) rows.emplace_back(whole[i].begin(), whole[i].begin() + 4);
    return rows;
  };
  options_.max_length = 16;
  EXPECT_EQ(distance(attack(), cut), 0);
  inputs_.paragraphs = [](std::int64_t) { return TokenRows{{5}, {}}; };
  EXPECT_THROW(attack(), DataError);
}

TEST_F(Attack, PaddingCountsOnlyWhereAskedFor) {
  const auto plain = attack();
  options_.max_length = 30;
  EXPECT_EQ(distance(attack(), plain), 0);
  options_.pad_in_loss = true;
  const auto padded = attack();
  EXPECT_GT(distance(padded, plain), 1e-3);
  for (const auto& point : std::span(padded).subspan(1)) EXPECT_TRUE(std::isfinite(point.loss));
}

class RowLoss : public ::testing::TestWithParam<model::Architecture> {};

// With pads in front there is one more target, the first token; the others see no pad.
TEST_P(RowLoss, PadsAreInvisible) {
  const auto config = tiny_config(GetParam());
  const model::Transformer model(config, random_weights(config));
  const std::vector<std::int32_t> row = {5, 3, 9, 17, 3};
  const auto loss = [&](std::span<const std::int32_t> tokens, std::int64_t pads) {
    return row_loss(model, tokens, pads, 1).item<double>();
  };
  const auto first = std::span(row).first(1);
  EXPECT_NEAR(loss(row, 4) - loss(first, 4), loss(row, 0), 1e-4);
  EXPECT_GT(loss(first, 4), 0);
}

TEST_P(RowLoss, IsTheNegativeScore) {
  const auto config = tiny_config(GetParam());
  const model::Transformer model(config, random_weights(config));
  const std::vector<std::int32_t> row = {5, 3, 9, 17, 3};
  const std::vector<model::ScoreItem> item{model::text_item(row)};
  EXPECT_NEAR(row_loss(model, row, 0, 0).item<double>(), -model::score(model, item)[0][0].logprob,
              1e-4);
}

INSTANTIATE_TEST_SUITE_P(All, RowLoss, all_architectures(), name_of);

// All tensors copied, the whole embedding among them (edits in place), an untied head: what Trainee
// leaves out is the decay of rows that no paragraph holds.
class FullCopy {
 public:
  FullCopy(const model::ModelConfig& config, const model::Weights& base,
           const model::RowOverlay& edits)
      : config_(config), weights_(base) {
    const auto copy = [&](const at::Tensor& values) {
      leaves_.push_back(values.detach().clone());
      return leaves_.back();
    };
    weights_.for_each([&](const std::string&, at::Tensor& tensor) { tensor = copy(tensor); });
    for (std::size_t i = 0; i < edits.ids.size(); ++i) {
      weights_.embedding[edits.ids[i]].copy_(edits.rows[static_cast<std::int64_t>(i)]);
    }
    for (auto& leaf : leaves_) leaf.set_requires_grad(true);
  }
  model::Transformer model() const { return {config_, weights_}; }
  const std::vector<at::Tensor>& parameters() const { return leaves_; }
  at::Tensor embedding() const { return weights_.embedding.detach(); }

 private:
  const model::ModelConfig& config_;
  model::Weights weights_;
  std::vector<at::Tensor> leaves_;
};

template <typename Copy>
std::vector<double> train(const Copy& copy, const TokenRows& text) {
  AdamW optimizer(copy.parameters(), {.learning_rate = 3e-3});
  std::vector<double> losses;
  for (const auto& row : text) {
    const auto loss = row_loss(copy.model(), row, 0, 0);
    losses.push_back(loss.template item<double>());
    loss.backward();
    optimizer.step();
  }
  return losses;
}

class TraineeTest : public ::testing::TestWithParam<bool> {};

TEST_P(TraineeTest, EqualsAFullCopyForTheTokensOfTheText) {
  const bool tied = GetParam();
  auto config = tiny_config(model::Architecture::gemma2);
  config.tied = tied;
  auto base = random_weights(config);
  if (tied) base.lm_head = base.embedding;
  const auto edits = make_edit(config, base);
  const auto text = make_paragraphs(8);
  const Trainee trainee(config, base, edits, text);
  const FullCopy full(config, base, edits);
  const auto few = train(trainee, text), all = train(full, text);
  for (std::size_t i = 0; i < few.size(); ++i) EXPECT_NEAR(few[i], all[i], 1e-4) << i;

  const auto overlay = trainee.model().overlay();
  std::set<std::int32_t> seen, read, held = {40};  // edited, not in the text
  for (const auto& row : text) {
    seen.insert(row.begin(), row.end());
    read.insert(row.begin(), row.end() - 1);  // a last token only decays
  }
  held.insert(seen.begin(), seen.end());
  EXPECT_EQ(std::set<std::int32_t>(overlay.ids.begin(), overlay.ids.end()), held);
  EXPECT_TRUE(std::ranges::is_sorted(overlay.ids));
  for (std::size_t i = 0; i < overlay.ids.size(); ++i) {
    const auto id = overlay.ids[i];
    EXPECT_EQ(overlay.row_of_id[id].item<int>(), static_cast<int>(i));
    const auto row = overlay.rows[static_cast<std::int64_t>(i)].detach();
    if (!seen.contains(id)) {
      EXPECT_EQ(largest_difference(row, edits.rows[1]), 0);
      continue;
    }
    EXPECT_LT(largest_difference(row, full.embedding()[id]), 1e-5) << id;
    const at::Tensor start = edits.edits(id) ? edits.rows[0] : base.embedding[id];
    if (read.contains(id)) {
      EXPECT_GT(largest_difference(row, start), 1e-3) << id;
    }
  }
  EXPECT_EQ(trainee.parameters().size(), full.parameters().size());
}

INSTANTIATE_TEST_SUITE_P(Heads, TraineeTest, ::testing::Bool(),
                         [](const auto& tested) { return tested.param ? "Tied" : "Untied"; });

}  // namespace
}  // namespace quench::relearning
