#include "model/score.hpp"

#include <gtest/gtest.h>

#include "cluster/error.hpp"
#include "model/prefix.hpp"
#include "model/transformer.hpp"
#include "tests/unit/tiny_model.hpp"

namespace quench::model {
namespace {

using namespace testing;

std::vector<std::int32_t> tokens(std::int64_t count, std::int64_t vocab, std::uint64_t seed) {
  const auto ids = random_ids(count, vocab, seed);
  return {ids.begin(), ids.end()};
}

// log p(continuation | context) from one plain pass over both.
double plain_logprob(const Transformer& model, const std::vector<std::int32_t>& context,
                     const std::vector<std::int32_t>& continuation) {
  std::vector<std::int64_t> ids(context.begin(), context.end());
  ids.insert(ids.end(), continuation.begin(), continuation.end());
  const at::Tensor logprobs =
      at::log_softmax(model.logits(model.hidden(plain_batch(ids)))[0].to(at::kDouble), -1);
  double sum = 0;
  for (std::size_t i = context.size(); i < ids.size(); ++i)
    sum += logprobs[static_cast<std::int64_t>(i) - 1][ids[i]].item<double>();
  return sum;
}

class ScoreTest : public ::testing::TestWithParam<Architecture> {
 protected:
  ModelConfig config_ = tiny_config(GetParam());
  Transformer model_{config_, random_weights(config_)};

  // Items of different lengths and numbers of continuations.
  std::vector<ScoreItem> items() const {
    std::vector<ScoreItem> items;
    for (std::uint64_t i = 0; i < 7; ++i) {
      ScoreItem item{tokens(static_cast<std::int64_t>(1 + (i * 5) % 9), config_.vocab, i), {}};
      for (std::uint64_t k = 0; k < 1 + i % 4; ++k)
        item.continuations.push_back(tokens(static_cast<std::int64_t>(1 + (i + 2 * k) % 4),
                                            config_.vocab, 100 + 10 * i + k));
      items.push_back(item);
    }
    return items;
  }
};

TEST_P(ScoreTest, IsThatOfPlainPassesHoweverBatched) {
  const auto all = items();
  for (const std::int64_t max_tokens : {1, 40, 10000}) {
    const auto scores = score(model_, all, {.max_tokens = max_tokens});
    ASSERT_EQ(scores.size(), all.size());
    for (std::size_t i = 0; i < all.size(); ++i) {
      ASSERT_EQ(scores[i].size(), all[i].continuations.size());
      for (std::size_t k = 0; k < scores[i].size(); ++k) {
        const auto& continuation = all[i].continuations[k];
        EXPECT_EQ(scores[i][k].tokens, std::ssize(continuation));
        EXPECT_NEAR(scores[i][k].logprob, plain_logprob(model_, all[i].context, continuation), 1e-4)
            << "item " << i << " continuation " << k << " in batches of " << max_tokens;
      }
    }
  }
}

TEST_P(ScoreTest, ACommonBeginningIsComputedOnce) {
  // Two heads of different lengths, one of them within the other, and questions that share nothing.
  const auto head = tokens(9, config_.vocab, 40), more = tokens(6, config_.vocab, 41);
  auto all = items();
  for (std::uint64_t i = 0; i < 8; ++i) {
    ScoreItem item{head, {}};
    if (i % 2 == 0) item.context.insert(item.context.end(), more.begin(), more.end());
    const auto own = tokens(static_cast<std::int64_t>(1 + i % 3), config_.vocab, 50 + i);
    item.context.insert(item.context.end(), own.begin(), own.end());
    for (std::uint64_t k = 0; k < 1 + i % 3; ++k)
      item.continuations.push_back(
          tokens(static_cast<std::int64_t>(1 + k), config_.vocab, 200 + 10 * i + k));
    all.push_back(item);
  }
  all.push_back({head, {{1, 2}}});  // no more than a beginning itself
  for (const std::int64_t least : {1, 4, 1000}) {
    const auto scores = score(model_, all, {.max_tokens = 64, .least_prefix = least});
    for (std::size_t i = 0; i < all.size(); ++i)
      for (std::size_t k = 0; k < scores[i].size(); ++k)
        EXPECT_NEAR(scores[i][k].logprob,
                    plain_logprob(model_, all[i].context, all[i].continuations[k]), 1e-4)
            << "item " << i << " continuation " << k << " least " << least;
  }
}

TEST_P(ScoreTest, TellsFirstChoices) {
  // What the model would say, with one token changed.
  auto context = tokens(5, config_.vocab, 60);
  std::vector<std::int64_t> ids(context.begin(), context.end());
  std::vector<std::int32_t> said;
  for (int i = 0; i < 6; ++i) {
    const at::Tensor last = model_.hidden(plain_batch(ids)).select(1, -1);
    auto next = model_.logits(last).argmax(-1).item<std::int64_t>();
    if (i == 3) next = (next + 1) % config_.vocab;
    ids.push_back(next);
    said.push_back(static_cast<std::int32_t>(next));
  }
  const auto score_of = [&](std::vector<std::int32_t> tokens_said) {
    const std::vector<ScoreItem> item{{context, {std::move(tokens_said)}}};
    return score(model_, item, {.first_choices = true})[0][0];
  };
  EXPECT_EQ(score_of(said).first_choices, 5);
  EXPECT_EQ(score_of(said).ending, 2);
  said.resize(3);
  EXPECT_EQ(score_of(said).ending, 3);
  said.back() = (said.back() + 1) % static_cast<std::int32_t>(config_.vocab);
  EXPECT_EQ(score_of(said).first_choices, 2);
  EXPECT_EQ(score_of(said).ending, 0);
}

INSTANTIATE_TEST_SUITE_P(Architectures, ScoreTest, all_architectures(), name_of);

TEST(ScoreOfTextTest, WalksALargeVocabularyInSlices) {
  ModelConfig config = tiny_config(Architecture::llama);
  config.vocab = 90000;  // with 119 predictions: three slices
  const Transformer model(config, random_weights(config));
  const auto text = tokens(120, config.vocab, 5);
  const auto scores = score(model, std::vector{text_item(text)});
  EXPECT_EQ(scores[0][0].tokens, 119);
  EXPECT_NEAR(scores[0][0].logprob, plain_logprob(model, {text[0]}, {text.begin() + 1, text.end()}),
              2e-3);
  EXPECT_NEAR(scores[0][0].mean(), scores[0][0].logprob / 119, 1e-12);
}

TEST(PrefixGroupsTest, CoverEveryContextOnceAndSaveMost) {
  using Context = std::vector<std::int32_t>;
  std::vector<Context> contexts;
  for (std::int32_t i = 0; i < 6; ++i) contexts.push_back({1, 2, 3, 4, 5, 6, 7, 8, 100 + i});
  for (std::int32_t i = 0; i < 6; ++i) contexts.push_back({1, 2, 9, 9, 9, 9, 9, 9, 200 + i});
  contexts.push_back({7, 7, 7});
  contexts.push_back({1});
  std::vector<const Context*> all;
  for (const auto& context : contexts) all.push_back(&context);
  std::vector<std::int64_t> lengths(contexts.size(), -1);
  for (const auto& group : prefix_groups(all, 2))
    for (const auto member : group.members) {
      EXPECT_EQ(lengths[member], -1);
      lengths[member] = group.length;
    }
  for (std::size_t i = 0; i < contexts.size(); ++i) EXPECT_EQ(lengths[i], i < 12 ? 8 : 0) << i;
  EXPECT_EQ(prefix_groups(all, 9).size(), 1U);
  EXPECT_TRUE(prefix_groups({}, 2).empty());
}

TEST(ScoreItemTest, ReadsAllButTheLastTokensOfContinuations) {
  ModelConfig config = tiny_config(Architecture::llama);
  RowOverlay overlay;
  overlay.ids = {9};
  overlay.rows = at::zeros({1, config.width});
  overlay.row_of_id = at::full({config.vocab}, -1, at::kInt);
  overlay.row_of_id[9] = 0;
  const Transformer model(config, random_weights(config), overlay);
  EXPECT_FALSE(reads_edited_row(model, {{1, 2}, {{3, 9}, {9}}}));
  EXPECT_TRUE(reads_edited_row(model, {{1, 2}, {{3, 9}, {9, 4}}}));
  EXPECT_TRUE(reads_edited_row(model, {{9}, {{3}}}));
}

TEST(ScoreItemTest, RefusesWhatCannotBeScored) {
  const ModelConfig config = tiny_config(Architecture::llama);
  const Transformer model(config, random_weights(config));
  EXPECT_THROW(score(model, std::vector{ScoreItem{{}, {{1}}}}), InternalError);
  EXPECT_THROW(score(model, std::vector{ScoreItem{{1}, {{1}, {}}}}), InternalError);
  EXPECT_THROW(text_item(std::vector<std::int32_t>{1}), InternalError);
  EXPECT_TRUE(score(model, std::vector{ScoreItem{{1}, {}}})[0].empty());
}

}  // namespace
}  // namespace quench::model
