#include "pipeline/stage_hashes.hpp"

#include <gtest/gtest.h>

namespace quench::pipeline {
namespace {

// What changes with a file of the model's directory, and with an option.
TEST(StageHashes, FollowWhatDecidesAStage) {
  const RunIdentity before{{}, {{"model/config.json", "a"}, {"model/tokenizer.json", "b"}}, {}};
  const Configuration configuration;
  const auto hashes = stage_hashes(configuration, before);
  for (const std::string file : {"model/chat_template.jinja", "model/tokenizer_config.json"}) {
    auto other = before;
    other.inputs[file] = "c";
    const auto changed = stage_hashes(configuration, other);
    EXPECT_NE(changed.corpus, hashes.corpus) << file;  // prompts are made with it
    EXPECT_NE(changed.baseline, hashes.baseline) << file;
  }
  auto weights = before;
  weights.inputs["model/model.safetensors"] = "d";
  EXPECT_EQ(stage_hashes(configuration, weights).corpus, hashes.corpus);
  EXPECT_NE(stage_hashes(configuration, weights).dictionary, hashes.dictionary);
}

TEST(StageHashes, DoNotFollowHowOftenAStageSaves) {
  const RunIdentity identity;
  const auto hashes = stage_hashes({}, identity);
  for (const std::string key : {"dictionary.checkpoint", "activations.checkpoint"}) {
    Configuration other;
    other.set(key + "=7");
    EXPECT_FALSE(decides_results(key));
    EXPECT_EQ(stage_hashes(other, identity).dictionary, hashes.dictionary) << key;
    EXPECT_EQ(stage_hashes(other, identity).activations, hashes.activations) << key;
  }
  Configuration other;
  other.set("activations.layers=1");
  EXPECT_NE(stage_hashes(other, identity).activations, hashes.activations);
}

}  // namespace
}  // namespace quench::pipeline
