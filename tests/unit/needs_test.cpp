#include "pipeline/needs.hpp"

#include <gtest/gtest.h>

#include "tests/unit/corpus_fixture.hpp"

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
    return memory_needs(configuration_, gemma2(), judge, ranks, concepts_, {}, tokens_);
  }
  Configuration configuration_;
  TokenCounts tokens_{4000, 6000, 8192, 100000};
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

// As the solver's own shape (factorise.cpp), or a plan would tell another form than a run takes.
TEST_F(MemoryNeeds, AFitIsExpectedToLastAsItsRuleSays) {
  const auto expected = [&] { return fit_shape(configuration_, gemma2(), 6000, 1).iterations; };
  EXPECT_EQ(expected(), dictionary::usual_iterations);
  configuration_.set("dictionary.stop=patience");
  EXPECT_EQ(expected(), dictionary::usual_patient_iterations);
  configuration_.set("dictionary.max_iterations=30");
  EXPECT_EQ(expected(), 30);
}

// C of a concept's tokens, and that of the neutral ones, which all fits of a rank share.
TEST_F(MemoryNeeds, TheDictionaryHoldsTheProductsOfItsTokens) {
  configuration_.set("dictionary.form=gram");
  const auto usual = needs().factorisation;
  EXPECT_GT(usual, 4 * (std::int64_t{8192} * 8192 + 4000 * 4000));
  tokens_ = {12000, 13000, 14000, 100000};
  const auto many = needs().factorisation;
  EXPECT_GT(many, 4 * (std::int64_t{14000} * 14000 + 12000 * 12000) + 14000 * 2304 * 4);
  EXPECT_GT(many - usual, 800'000'000);
  tokens_.largest = 17000;  // too many for C, but another concept may have 16,384
  EXPECT_GT(needs().factorisation, many);
  tokens_ = {17000, 18000, 19000, 100000};
  EXPECT_LT(needs().factorisation, many);  // none has
}

// Whatever form is the cheapest, a larger concept leaves the others as they are.
TEST_F(MemoryNeeds, MoreTokensNeverTakeLess) {
  std::int64_t before = 0;
  for (const std::int64_t largest : {4000, 6000, 9000, 14000, 20000, 40000}) {
    tokens_.largest = largest;
    EXPECT_GE(needs().factorisation, before * 98 / 100) << largest;  // it looks at 64 sizes
    before = needs().factorisation;
  }
}

// On one of all ranks, however many.
TEST_F(MemoryNeeds, OneRankGathersAJointDictionary) {
  EXPECT_EQ(needs().gathered, 0);
  configuration_.set("dictionary.scope=vocabulary");
  EXPECT_GT(needs().gathered, 16 * 2560 * configuration_.dictionary.rank);
  EXPECT_EQ(needs(8).gathered, needs().gathered);
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

// Concepts whose tokens are single letters.
class CountTokens : public corpus::testing::CorpusTest {
 protected:
  void write_sentences(const std::vector<std::string>& sentences) {
    std::vector<corpus::testing::json> records;
    for (const auto& sentence : sentences) {
      auto& record =
          records.emplace_back(corpus::testing::make_concept(std::to_string(records.size())));
      record["sentences"] = {sentence};
    }
    write("concepts.jsonl", records);
    index_ = corpus::index_catalog(catalog_);
  }
  TokenCounts counts() const {
    return count_tokens(catalog_, *tokenizer_, index_, corpus::read_shared(catalog_));
  }
};

TEST_F(CountTokens, FewConceptsAreCounted) {
  write_sentences({"efgh", "efefefefef", "d"});  // the neutral text has "ab", " ", "c" and "d"
  const auto counted = counts();
  EXPECT_EQ(counted.neutral, 4);
  EXPECT_EQ(counted.mean, 4 + 2);
  EXPECT_EQ(counted.largest, 4 + 4);
  EXPECT_EQ(counted.catalog, 4 + 4);
}

// One of many has far more text than the others.
TEST_F(CountTokens, TheLargestIsFound) {
  const std::string letters = "efghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
  for (const std::size_t place : {0, 7, 49}) {
    std::vector<std::string> sentences(50, "efg");
    sentences[place] = letters;
    write_sentences(sentences);
    const auto counted = counts();
    EXPECT_GE(counted.largest, 4 + std::ssize(letters));
    EXPECT_LE(counted.largest, 4 + 1.25 * static_cast<double>(letters.size()) + 1);
    EXPECT_EQ(counted.mean, 4 + 3);
  }
}

}  // namespace
}  // namespace quench::pipeline
