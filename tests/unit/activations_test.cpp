#include "stages/activations/activations.hpp"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "cluster/error.hpp"
#include "cluster/random.hpp"
#include "stages/activations/semi_nmf.hpp"
#include "tests/support/collective_check.hpp"
#include "tests/support/scratch_directory.hpp"
#include "tests/support/shared_directory.hpp"
#include "tests/unit/tiny_model.hpp"

namespace quench::activations {
namespace {

using model::Architecture;
using model::testing::random_weights;
using model::testing::tiny_config;
using quench::testing::CollectiveCheck;
using quench::testing::local_cases;
using quench::testing::LocalCheck;
using quench::testing::ScratchDirectory;
using quench::testing::SharedDirectory;

constexpr std::int32_t bos = 1;

model::Transformer tiny_model(Architecture architecture = Architecture::llama) {
  const auto config = tiny_config(architecture);
  return {config, random_weights(config)};
}

// One for all threads: ATen's generator is not theirs alone.
const model::Transformer& shared_model() {
  static const auto model = tiny_model();
  return model;
}

// `count` sentences of different lengths, one of them without a token.
std::vector<Tokens> make_sentences(std::int64_t count, std::uint64_t seed) {
  std::vector<Tokens> sentences;
  for (std::int64_t i = 0; i < count; ++i) {
    Tokens sentence;
    const cluster::KeyedRandom random(seed + static_cast<std::uint64_t>(i), "activations_test");
    for (std::int64_t place = 0; place < (3 * i) % 8; ++place)
      sentence.push_back(static_cast<std::int32_t>(random.below(place, 48) + 2));  // BOS apart
    sentences.push_back(sentence);
  }
  return sentences;
}

Inputs make_inputs(const model::Transformer& model) {
  Inputs inputs;
  inputs.concepts = 3;
  inputs.sentences = [](std::int64_t c) {
    return make_sentences(5 + c, 100 * static_cast<std::uint64_t>(c));
  };
  inputs.concept_hash = [](std::int64_t c) { return "concept " + std::to_string(c); };
  inputs.neutral = make_sentences(6, 900);
  inputs.prefix = {bos};
  inputs.model = &model;
  inputs.model_hash = "model";
  inputs.inputs_hash = "inputs";
  inputs.run_id = "run";
  return inputs;
}

Options small_options() {
  Options options;
  options.layers = {"all"};
  options.rank = 4;
  options.density = 0.1;
  options.max_iterations = 15;
  options.batch_tokens = 20;
  return options;
}

ActivationFeatures run_in(cluster::Communicator& comm, const std::filesystem::path& directory,
                          const Inputs& inputs, const Options& options, int group_size = 1) {
  at::set_num_threads(1);
  cluster::Session session(comm.split(0, comm.rank()), {group_size, 1});
  cluster::StopFlag stop;
  cluster::Timers timers;
  cluster::Context context{session, stop, timers, directory, true};
  return run(inputs, options, context);
}

// The columns of A, a sentence at a time.
at::Tensor plain_activations(const model::Transformer& model, const std::vector<Tokens>& sentences,
                             std::int64_t layer) {
  std::vector<at::Tensor> columns;
  for (const auto& sentence : sentences) {
    if (sentence.empty()) continue;
    std::vector<std::int64_t> ids{bos};
    ids.insert(ids.end(), sentence.begin(), sentence.end());
    auto passage = model.enter(model::testing::plain_batch(ids));
    columns.push_back(model.mlp_activations(passage, layer)[0].slice(0, 1).t());
  }
  return at::cat(columns, 1).contiguous();
}

// One fit, without the stage and on one rank.
Fit fit_of(const Inputs& inputs, const Options& options, std::int64_t c, std::int64_t layer) {
  auto sentences = inputs.sentences(c);
  std::int64_t of_concept = 0;
  for (const auto& sentence : sentences) of_concept += std::ssize(sentence);
  sentences.insert(sentences.end(), inputs.neutral.begin(), inputs.neutral.end());
  const auto activations = plain_activations(*inputs.model, sentences, layer);
  const auto self = cluster::make_self_communicator();
  return factorise({activations, 0, activations.size(1), of_concept}, options,
                   inputs.concept_hash(c) + "/" + std::to_string(layer), *self);
}

void expect_near(const NeuronFeatures& actual, const NeuronFeatures& expected) {
  EXPECT_EQ(actual.width, expected.width);
  EXPECT_EQ(actual.offsets, expected.offsets);
  EXPECT_EQ(actual.neurons, expected.neurons);
  const auto near = [](const auto& a, const auto& b) {
    ASSERT_EQ(a.size(), b.size());
    for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-3 * (1 + std::abs(b[i])));
  };
  near(actual.values, expected.values);
  near(actual.mean_concept, expected.mean_concept);
  near(actual.mean_neutral, expected.mean_neutral);
  near(actual.ratio, expected.ratio);
}

TEST(SentencePassages, AreThoseOfSentencesAlone) {
  for (const auto architecture :
       {Architecture::llama, Architecture::gemma2, Architecture::gemma3}) {
    const auto model = tiny_model(architecture);
    const auto sentences = make_sentences(9, 5);
    for (const std::int64_t batch_tokens : {1, 20, 1000}) {
      SentencePassages passages(model, sentences, {bos}, batch_tokens);
      for (const std::int64_t layer : {0, 1}) {
        const auto activations = passages.at_layer(layer);
        EXPECT_LT(model::testing::largest_difference(activations,
                                                     plain_activations(model, sentences, layer)),
                  2e-5);
        EXPECT_EQ(passages.next_layer(), layer + 1);
      }
    }
  }
}

TEST(SentencePassages, PrefixTokensAreNoColumns) {
  const auto model = tiny_model();
  EXPECT_EQ(positions_of({bos, 5, bos, 6}, {bos}), 2);
  EXPECT_EQ(positions_of({bos, 5, 6}, {}), 3);
  const std::vector<Tokens> sentences{{5, bos, 6}};
  SentencePassages passages(model, sentences, {bos}, 100);
  auto passage = model.enter(model::testing::plain_batch({bos, 5, bos, 6}));
  const auto all = model.mlp_activations(passage, 0)[0].t();
  EXPECT_LT(model::testing::largest_difference(passages.at_layer(0),
                                               at::stack({all.select(1, 1), all.select(1, 3)}, 1)),
            1e-6);
}

void each_concept_and_layer_is_factorised(cluster::Communicator& comm) {
  const SharedDirectory directory(comm);
  const auto& model = shared_model();
  const auto inputs = make_inputs(model);
  const auto options = small_options();
  const auto found = run_in(comm, directory.path(), inputs, options);
  EXPECT_EQ(found.concepts(), 3);
  EXPECT_EQ(found.layers(), (std::vector<std::int64_t>{0, 1}));
  const cluster::StoreReader file(directory / "activations.h5", "activations", schema);
  for (std::int64_t c = 0; c < 3; ++c)
    for (const std::int64_t layer : {0, 1}) {
      const auto expected = fit_of(inputs, options, c, layer);
      const auto place = 2 * c + layer;
      expect_near(found.features(c, layer), expected.features);
      EXPECT_EQ(found.failure(c, layer), "");
      EXPECT_EQ(file.read<std::int64_t>("fits/concept").at(place), c);
      EXPECT_EQ(file.read<std::int64_t>("fits/layer").at(place), layer);
      EXPECT_EQ(file.read<std::int64_t>("fits/positions").at(place), expected.positions);
      EXPECT_EQ(file.read<std::int64_t>("fits/concept_positions").at(place),
                expected.concept_positions);
      EXPECT_EQ(file.read_ragged<double>("fits/objective").at(place).size(),
                expected.objective.size());
      EXPECT_EQ(file.read_strings("fits/stop_reason").at(place), expected.stop_reason);
    }
  EXPECT_FALSE(file.contains("g/values"));
  EXPECT_EQ(file.header().inputs_hash, "inputs");
  EXPECT_EQ(file.number_attribute("/", "failures"), 0);
  EXPECT_FALSE(std::filesystem::exists(directory / "journals/activations"));
  EXPECT_THROW(found.features(0, 2), ConfigError);
}

void failures_are_recorded(cluster::Communicator& comm) {
  const SharedDirectory directory(comm);
  const auto& model = shared_model();
  auto inputs = make_inputs(model);
  inputs.sentences = [](std::int64_t c) {
    auto sentences = make_sentences(5, static_cast<std::uint64_t>(c));
    if (c == 1) sentences.back().at(0) = 50;  // outside of the vocabulary
    return sentences;
  };
  const auto found = run_in(comm, directory.path(), inputs, small_options());
  EXPECT_NE(found.failure(1, 0).find("token 50"), std::string::npos) << found.failure(1, 0);
  EXPECT_EQ(found.features(1, 1).rank(), 0);
  expect_near(found.features(2, 1), fit_of(inputs, small_options(), 2, 1).features);
  const cluster::StoreReader file(directory / "activations.h5", "activations", schema);
  EXPECT_EQ(file.number_attribute("/", "failures"), 2);
}

const std::vector<CollectiveCheck> checks{
    {"EachConceptAndLayerIsFactorised", each_concept_and_layer_is_factorised},
    {"FailuresAreRecorded", failures_are_recorded},
};

using ActivationsStage = LocalCheck;
TEST_P(ActivationsStage, Holds) { run(); }
INSTANTIATE_TEST_SUITE_P(Activations, ActivationsStage, local_cases(checks), LocalCheck::name);

TEST(ActivationsStage, GroupsShareATaskAndGMayBeKept) {
  const ScratchDirectory directory;
  const auto model = tiny_model(Architecture::gemma2);
  const auto inputs = make_inputs(model);
  auto options = small_options();
  options.layers = {"1"};
  options.save_g = true;
  cluster::run_on_threads(4, [&](cluster::Communicator& comm) {
    const auto found = run_in(comm, directory.path(), inputs, options, 2);
    EXPECT_EQ(found.layers(), std::vector<std::int64_t>{1});
    expect_near(found.features(1, 1), fit_of(inputs, options, 1, 1).features);
  });
  const cluster::StoreReader file(directory / "activations.h5", "activations", schema);
  const auto g = file.read_ragged<float>("g/values").at(2);
  const auto expected = fit_of(inputs, options, 2, 1).g;
  ASSERT_EQ(g.size(), expected.size());
  for (std::size_t i = 0; i < g.size(); ++i) EXPECT_NEAR(g[i], expected[i], 1e-3);
}

TEST(ActivationsStage, StoppedInAFactorisationItGoesOn) {
  const ScratchDirectory directory;
  const auto model = tiny_model();
  auto inputs = make_inputs(model);
  inputs.concepts = 1;
  auto options = small_options();
  options.layers = {"0"};
  std::atomic<int> asked = 0;
  const auto sentences = inputs.sentences;
  inputs.sentences = [&](std::int64_t c) {
    // Asked for once for the task's cost, and again where its work begins.
    if (++asked == 2) cluster::StopFlag::raise();
    return sentences(c);
  };
  const auto self = cluster::make_self_communicator();
  EXPECT_THROW(run_in(*self, directory.path(), inputs, options), Stopped);
  cluster::StopFlag::clear();
  EXPECT_FALSE(std::filesystem::exists(directory / "activations.h5"));
  const auto has_checkpoint = [&] {
    for (const auto& file :
         std::filesystem::directory_iterator(directory / "journals" / "activations"))
      if (file.path().extension() == ".fit") return true;
    return false;
  };
  EXPECT_TRUE(has_checkpoint());
  const auto found = run_in(*self, directory.path(), inputs, options);
  expect_near(found.features(0, 0), fit_of(inputs, options, 0, 0).features);
}

TEST(ActivationsOptions, Layers) {
  const auto chosen = [](const std::vector<std::string>& layers) {
    Options options;
    options.layers = layers;
    return chosen_layers(options, 6);
  };
  using Layers = std::vector<std::int64_t>;
  EXPECT_EQ(chosen({}), Layers{});
  EXPECT_EQ(chosen({"all"}), (Layers{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(chosen({"4", "0-2", "1-1"}), (Layers{0, 1, 2, 4}));
  for (const char* wrong : {"6", "3-6", "2-1", "-1", "1-", "x", "1-2-3", ""})
    EXPECT_THROW(chosen({wrong}), ConfigError) << wrong;
}

}  // namespace
}  // namespace quench::activations
