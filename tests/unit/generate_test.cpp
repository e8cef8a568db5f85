#include "model/generate.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "cluster/error.hpp"
#include "model/transformer.hpp"
#include "tests/unit/tiny_model.hpp"

namespace quench::model {
namespace {

using namespace testing;
using Tokens = std::vector<std::int32_t>;

class GenerateTest : public ::testing::TestWithParam<Architecture> {
 protected:
  ModelConfig config_ = tiny_config(GetParam());
  Transformer model_{config_, random_weights(config_)};
  std::vector<Tokens> prompts_;

  void SetUp() override {
    for (const std::int64_t length : {3, 9, 1, 6, 6, 4}) {
      const auto ids = random_ids(length, config_.vocab, 20 + prompts_.size());
      prompts_.emplace_back(ids.begin(), ids.end());
    }
  }

  // The likeliest next token again and again, without a cache.
  Tokens stepwise(const Tokens& prompt, std::int64_t limit, const Tokens& stop_ids = {}) const {
    std::vector<std::int64_t> ids(prompt.begin(), prompt.end());
    Tokens answer;
    while (std::ssize(answer) < limit) {
      const at::Tensor last = model_.hidden(plain_batch(ids)).select(1, -1);
      ids.push_back(model_.logits(last).argmax(-1).item<std::int64_t>());
      const auto token = static_cast<std::int32_t>(ids.back());
      if (std::ranges::find(stop_ids, token) != stop_ids.end()) break;
      answer.push_back(token);
    }
    return answer;
  }
};

TEST_P(GenerateTest, IsTheLikeliestTokenAgainAndAgain) {
  GenerateOptions options;
  options.max_new_tokens = 12;
  for (const std::int64_t batch : {1, 4, 16}) {
    options.batch = batch;
    const auto answers = generate_greedy(model_, prompts_, options);
    ASSERT_EQ(answers.size(), prompts_.size());
    for (std::size_t i = 0; i < prompts_.size(); ++i)
      EXPECT_EQ(answers[i], stepwise(prompts_[i], 12)) << "prompt " << i << " batch " << batch;
  }
}

TEST_P(GenerateTest, EndsAtAStopAndAtEachPromptsLimit) {
  const std::vector<std::int64_t> limits{12, 0, 12, 5, 12, 1};
  const Tokens stops{stepwise(prompts_[0], 12)[4], stepwise(prompts_[2], 12)[7]};
  GenerateOptions options;
  options.stop_ids = stops;
  options.batch = 4;
  const auto answers = generate_greedy(model_, prompts_, options, limits);
  options.keep_stop = true;
  const auto with_stops = generate_greedy(model_, prompts_, options, limits);
  EXPECT_LE(answers[0].size(), 4U);
  for (std::size_t i = 0; i < prompts_.size(); ++i) {
    SCOPED_TRACE(i);
    const Tokens expected = stepwise(prompts_[i], limits[i], stops);
    EXPECT_EQ(answers[i], expected);
    const auto shown = std::min<std::int64_t>(std::ssize(expected) + 1, limits[i]);
    EXPECT_EQ(with_stops[i], stepwise(prompts_[i], shown));
  }
}

INSTANTIATE_TEST_SUITE_P(Architectures, GenerateTest, all_architectures(), name_of);

TEST(GenerateRefusesTest, EmptyPromptsAndAWrongNumberOfLimits) {
  const ModelConfig config = tiny_config(Architecture::llama);
  const Transformer model(config, random_weights(config));
  EXPECT_THROW(generate_greedy(model, std::vector<Tokens>{{}}, {}), InternalError);
  const std::vector<std::int64_t> limits{1, 2};
  EXPECT_THROW(generate_greedy(model, std::vector<Tokens>{{1}}, {}, limits), InternalError);
}

}  // namespace
}  // namespace quench::model
