#include "model/transformer.hpp"

#include <gtest/gtest.h>

#include "cluster/error.hpp"
#include "tests/unit/tiny_model.hpp"

namespace quench::model {
namespace {

using namespace testing;

constexpr double tolerance = 2e-5;  // float32 rounding of states of size 1 to 5

class TransformerTest : public ::testing::TestWithParam<Architecture> {
 protected:
  ModelConfig config_ = tiny_config(GetParam());
  Transformer model_{config_, random_weights(config_)};
  std::vector<std::int64_t> ids_ = random_ids(12, config_.vocab, 3);

  at::Tensor alone() const { return model_.hidden(plain_batch(ids_)); }
};

// `batch` with `count` tokens of padding before or behind.
Batch padded(const Batch& batch, std::int64_t before, std::int64_t behind) {
  const auto pad = [&](const at::Tensor& x, std::int64_t value) {
    return at::constant_pad_nd(x, {before, behind}, value);
  };
  return {pad(batch.ids, 7), pad(batch.positions, 0), pad(batch.branches, -1)};
}

Batch stacked(const Batch& a, const Batch& b) {
  return {at::cat({a.ids, b.ids}), at::cat({a.positions, b.positions}),
          at::cat({a.branches, b.branches})};
}

Batch columns(const Batch& batch, std::int64_t begin, std::int64_t end) {
  const auto slice = [&](const at::Tensor& x) { return x.slice(1, begin, end); };
  return {slice(batch.ids), slice(batch.positions), slice(batch.branches)};
}

TEST_P(TransformerTest, PaddedRowsGiveWhatTheyGiveAlone) {
  const auto shorter = random_ids(8, config_.vocab, 4);
  const Batch left = stacked(plain_batch(ids_), padded(plain_batch(shorter), 4, 0));
  const Batch right = stacked(padded(plain_batch(shorter), 0, 4), plain_batch(ids_));
  const at::Tensor expected = model_.hidden(plain_batch(shorter))[0];
  const at::Tensor from_left = model_.hidden(left), from_right = model_.hidden(right);
  EXPECT_LT(largest_difference(from_left[0], alone()[0]), tolerance);
  EXPECT_LT(largest_difference(from_left[1].slice(0, 4), expected), tolerance);
  EXPECT_LT(largest_difference(from_right[0].slice(0, 0, 8), expected), tolerance);
  EXPECT_LT(largest_difference(from_right[1], alone()[0]), tolerance);
  EXPECT_TRUE(from_left.isfinite().all().item<bool>());
}

TEST_P(TransformerTest, CachedStepsGiveWhatOnePassGives) {
  const auto shorter = random_ids(9, config_.vocab, 4);
  const Batch batch = stacked(plain_batch(ids_), padded(plain_batch(shorter), 3, 0));
  const at::Tensor expected = model_.hidden(batch);
  KvCache cache;
  std::vector<at::Tensor> parts;
  for (const auto& [begin, end] : {std::pair{0, 4}, {4, 5}, {5, 6}, {6, 11}, {11, 12}})
    parts.push_back(model_.hidden(columns(batch, begin, end), &cache));
  const at::Tensor stepwise = at::cat(parts, 1);
  EXPECT_EQ(cache.length(), 12);
  EXPECT_LT(largest_difference(stepwise[0], expected[0]), tolerance);
  EXPECT_LT(largest_difference(stepwise[1].slice(0, 3), expected[1].slice(0, 3)), tolerance);
}

TEST_P(TransformerTest, CacheGrowsBeyondItsFirstBuffer) {
  const Batch batch = plain_batch(random_ids(160, config_.vocab, 5));
  KvCache cache;
  model_.hidden(columns(batch, 0, 1), &cache);
  model_.hidden(columns(batch, 1, 150), &cache);
  const at::Tensor last = model_.hidden(columns(batch, 150, 160), &cache);
  EXPECT_LT(largest_difference(last, model_.hidden(batch).slice(1, 150)), tolerance);
}

TEST_P(TransformerTest, SelectedCacheRowsGoOnAsAlone) {
  const Batch batch = stacked(plain_batch(random_ids(12, config_.vocab, 6)), plain_batch(ids_));
  KvCache cache;
  model_.hidden(columns(batch, 0, 10), &cache);
  cache.select_rows(at::tensor({1}, at::kLong));
  const at::Tensor last = model_.hidden(columns(plain_batch(ids_), 10, 12), &cache);
  EXPECT_LT(largest_difference(last, alone().slice(1, 10)), tolerance);
}

TEST_P(TransformerTest, BranchesGiveWhatSeparateRowsGive) {
  const std::vector<std::int64_t> trunk(ids_.begin(), ids_.begin() + 6);
  const std::vector<std::int64_t> first{1, 2, 3}, second{4, 5, 6, 8};
  std::vector<std::int64_t> ids = trunk, positions{0, 1, 2, 3, 4, 5}, branches(6, 0);
  for (std::size_t i = 0; i < 3; ++i) ids.push_back(first[i]), branches.push_back(1);
  for (std::size_t i = 0; i < 4; ++i) ids.push_back(second[i]), branches.push_back(2);
  for (const std::int64_t p : {6, 7, 8, 6, 7, 8, 9}) positions.push_back(p);
  const at::Tensor tree = model_.hidden({row(ids), row(positions), row(branches)})[0];
  const auto separate = [&](const std::vector<std::int64_t>& branch) {
    std::vector<std::int64_t> whole = trunk;
    whole.insert(whole.end(), branch.begin(), branch.end());
    return model_.hidden(plain_batch(whole))[0];
  };
  EXPECT_LT(largest_difference(tree.slice(0, 0, 9), separate(first)), tolerance);
  EXPECT_LT(largest_difference(tree.slice(0, 9), separate(second).slice(0, 6)), tolerance);
}

TEST_P(TransformerTest, OnlyLaterTokensSeeAToken) {
  auto changed = ids_;
  changed[5] = (changed[5] + 1) % config_.vocab;
  const at::Tensor difference = (model_.hidden(plain_batch(changed)) - alone()).abs().amax(-1)[0];
  EXPECT_EQ(difference.slice(0, 0, 5).max().item<float>(), 0);
  EXPECT_GT(difference.slice(0, 5).min().item<float>(), 1e-4);
}

// One layer alone: its down projection of the activations is what the layer adds by its MLP.
TEST_P(TransformerTest, MlpActivationsAreWhatTheDownProjectionReads) {
  Weights weights = random_weights(config_);
  const auto states_with = [&](const at::Tensor& down) {
    Weights changed = weights;
    changed.layers[1].down = down;
    Passage passage = Transformer(config_, changed).enter(plain_batch(ids_));
    Transformer(config_, changed).mlp_activations(passage, 1);
    return passage.states[0];
  };
  Passage passage = model_.enter(plain_batch(ids_));
  const at::Tensor activations = model_.mlp_activations(passage, 1)[0];
  ASSERT_EQ(activations.sizes(), (at::IntArrayRef{12, config_.mlp_width}));
  const at::Tensor& down = weights.layers[1].down;
  at::Tensor change = at::linear(activations, down);
  if (config_.sandwich_norms)
    change = at::rms_norm(change, {config_.width}, weights.layers[1].post_mlp_norm + 1,
                          config_.norm_eps);
  EXPECT_LT(largest_difference(states_with(down) - states_with(at::zeros_like(down)), change),
            tolerance);
}

TEST_P(TransformerTest, APassageStopsAndGoesOn) {
  const Batch batch = stacked(plain_batch(ids_), padded(plain_batch(ids_), 0, 0));
  Passage passage = model_.enter(batch), direct = model_.enter(batch);
  model_.mlp_activations(passage, 0);
  EXPECT_EQ(passage.next_layer, 1);
  EXPECT_TRUE(at::equal(model_.mlp_activations(passage, 1), model_.mlp_activations(direct, 1)));
  EXPECT_TRUE(at::equal(passage.states, direct.states));
  EXPECT_THROW(model_.mlp_activations(passage, 1), InternalError);
  EXPECT_THROW(model_.mlp_activations(direct, 2), InternalError);
  const Weights weights = random_weights(config_);
  const at::Tensor norm = config_.norm_unit_offset ? weights.final_norm + 1 : weights.final_norm;
  EXPECT_LT(
      largest_difference(at::rms_norm(passage.states, {config_.width}, norm, config_.norm_eps)[0],
                         alone()[0]),
      tolerance);
}

TEST_P(TransformerTest, OverlayIsAnEditOfTheEmbedding) {
  const Weights weights = random_weights(config_);
  const std::int32_t first = static_cast<std::int32_t>(ids_[2]), second = 49;
  RowOverlay overlay;
  overlay.ids = {first, second};
  overlay.rows = at::randn({2, config_.width});
  overlay.row_of_id = at::full({config_.vocab}, -1, at::kInt);
  overlay.row_of_id[first] = 0;
  overlay.row_of_id[second] = 1;
  Weights edited = weights;
  edited.embedding = weights.embedding.clone();
  edited.embedding[first] = overlay.rows[0];
  edited.embedding[second] = overlay.rows[1];
  ids_.push_back(second);
  const Batch batch = plain_batch(ids_);
  const at::Tensor states = Transformer(config_, weights, overlay).hidden(batch);
  EXPECT_TRUE(states.equal(Transformer(config_, edited).hidden(batch)));
  EXPECT_GT(largest_difference(states, Transformer(config_, weights).hidden(batch)), 0.01);
}

TEST_P(TransformerTest, LogitsComeInSlicesAndCapped) {
  const at::Tensor states = alone(), logits = model_.logits(states);
  EXPECT_EQ(logits.sizes(), at::IntArrayRef({1, 12, config_.vocab}));
  EXPECT_LT(largest_difference(model_.logits(states, 20, 7), logits.slice(-1, 20, 27)), tolerance);
  const double cap = config_.logit_softcap > 0 ? config_.logit_softcap : 1e3;
  EXPECT_LT(logits.abs().max().item<double>(), cap);
}

INSTANTIATE_TEST_SUITE_P(Architectures, TransformerTest, all_architectures(), name_of);

// Which places of a one-layer model's output change with its first token.
std::vector<bool> seen_by(bool sliding, KvCache* cache) {
  ModelConfig config = tiny_config(Architecture::gemma3);
  config.layers = 1;
  config.sliding = {sliding};
  config.sliding_window = 4;
  const Transformer model(config, random_weights(config));
  const auto run = [&](std::int64_t first) {
    if (cache == nullptr) return model.hidden(plain_batch({first, 2, 3, 4, 5, 6, 7}));
    *cache = {};
    const Batch batch = plain_batch({first, 2, 3, 4, 5, 6, 7});
    const at::Tensor head = model.hidden(columns(batch, 0, 2), cache);
    const at::Tensor tail = model.hidden(columns(batch, 2, 7), cache);
    return at::cat({head, tail}, 1);
  };
  const at::Tensor changed = run(1).ne(run(9)).any(-1)[0];
  std::vector<bool> seen;
  for (std::int64_t i = 0; i < 7; ++i) seen.push_back(changed[i].item<bool>());
  return seen;
}

TEST(SlidingWindowTest, HidesTokensBeyondTheWindow) {
  const std::vector<bool> window{true, true, true, true, false, false, false};
  KvCache cache;
  EXPECT_EQ(seen_by(true, nullptr), window);
  EXPECT_EQ(seen_by(true, &cache), window);
  EXPECT_EQ(seen_by(false, nullptr), std::vector<bool>(7, true));
}

}  // namespace
}  // namespace quench::model
