#include "pipeline/needs.hpp"

#include <gtest/gtest.h>

namespace quench::pipeline {
namespace {

// Gemma 2 2B's shape.
model::ModelConfig gemma2() {
  model::ModelConfig config;
  config.vocab = 256000;
  config.width = 2304;
  config.layers = 26;
  config.heads = 8;
  config.kv_heads = 4;
  config.head_dim = 256;
  config.mlp_width = 9216;
  config.max_position = 8192;
  config.tied = true;
  return config;
}

class MemoryNeeds : public ::testing::Test {
 protected:
  model::MemoryEstimate needs(int ranks = 1, const model::ModelConfig* judge = nullptr) const {
    return memory_needs(configuration_, gemma2(), judge, ranks, concepts_, {});
  }
  Configuration configuration_;
  std::vector<corpus::ConceptEntry> concepts_ = std::vector<corpus::ConceptEntry>(100);
};

TEST_F(MemoryNeeds, TheDictionaryHoldsItsRows) {
  const auto one = needs().factorisation;
  EXPECT_GT(one, 8192 * std::int64_t{2304} * 4);  // A of one concept
  configuration_.set("dictionary.scope=vocabulary");
  const auto all = needs().factorisation;
  EXPECT_GT(all, 256000 * std::int64_t{2304} * 4);
  EXPECT_LT(needs(8).factorisation, all / 4);  // sharded
  configuration_.set("dictionary.scope=catalog");
  EXPECT_EQ(needs().factorisation, all);  // 100 concepts may want every token
  concepts_.resize(3);
  EXPECT_LT(needs().factorisation, all / 4);
}

TEST_F(MemoryNeeds, AttacksAndJudgesAddTheirOwn) {
  configuration_.set("relearning.enabled=false");
  const auto plain = needs();
  EXPECT_EQ(plain.training, 0);
  configuration_.set("relearning.enabled=true");
  EXPECT_GT(needs().training, 4 * plain.weights);
  const auto judge = gemma2();
  EXPECT_EQ(needs(1, &judge).weights, 2 * plain.weights);
}

}  // namespace
}  // namespace quench::pipeline
