#include "stages/dictionary/dictionary.hpp"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <numeric>

#include "cluster/error.hpp"
#include "cluster/random.hpp"
#include "stages/dictionary/concept_batch.hpp"
#include "stages/dictionary/fit_record.hpp"
#include "tests/support/collective_check.hpp"
#include "tests/support/scratch_directory.hpp"
#include "tests/support/shared_directory.hpp"

namespace quench::dictionary {
namespace {

using namespace testing;

constexpr std::int64_t vocab = 120;
constexpr std::int64_t width = 12;

std::vector<float> make_embedding() {
  const cluster::KeyedRandom random(3, "dictionary_test");
  std::vector<float> out(vocab * width);
  for (std::int64_t i = 0; i < vocab * width; ++i)
    out[i] = static_cast<float>(random.normal(i % (19 * width)) + 0.2 * random.normal(9999 + i));
  return out;
}

// Concepts of different numbers of tokens.
Inputs make_inputs(const std::vector<float>& embedding, std::int64_t concepts) {
  Inputs inputs;
  inputs.concepts = concepts;
  inputs.tokens = [](std::int64_t c) {
    std::vector<std::int32_t> ids;
    for (std::int32_t id = static_cast<std::int32_t>(c); id < vocab; id += 1 + (c == 2 ? 1 : 0))
      ids.push_back(id);
    return ids;
  };
  inputs.concept_hash = [](std::int64_t c) { return "concept " + std::to_string(c); };
  inputs.is_special = [](std::int32_t id) { return id == 1; };
  inputs.embedding = embedding;
  inputs.width = width;
  inputs.scale = 3;
  inputs.embedding_hash = "embedding";
  inputs.inputs_hash = "inputs";
  inputs.run_id = "run";
  return inputs;
}

Options small_options() {
  Options options;
  options.rank = 7;
  options.density = 0.05;
  options.max_iterations = 25;
  return options;
}

Dictionaries run_in(cluster::Communicator& comm, const std::filesystem::path& directory,
                    const Inputs& inputs, int group_size = 1,
                    const Options& options = small_options()) {
  at::set_num_threads(1);
  cluster::Session session(comm.split(0, comm.rank()), {group_size, 1});
  cluster::StopFlag stop;
  cluster::Timers timers;
  cluster::Context context{session, stop, timers, directory, true};
  return run(inputs, options, context);
}

void expect_equal(const Factors& actual, const Factors& expected) {
  EXPECT_EQ(actual.tokens, expected.tokens);
  EXPECT_EQ(actual.width, expected.width);
  EXPECT_EQ(actual.rank, expected.rank);
  EXPECT_EQ(actual.features, expected.features);
  EXPECT_EQ(actual.rows, expected.rows);
  EXPECT_EQ(actual.coefficients, expected.coefficients);
}

// The fit of some tokens, without the stage and on one rank.
Fit fit_of(const Inputs& inputs, const std::vector<std::int32_t>& tokens,
           const std::string& purpose) {
  std::vector<float> stored;
  for (const auto token : tokens)
    for (std::int64_t j = 0; j < width; ++j) stored.push_back(inputs.embedding[token * width + j]);
  const Shard shard{Rows(stored, tokens, width, inputs.scale), 0, std::ssize(tokens)};
  const auto self = cluster::make_self_communicator();
  auto fit = factorise(shard, normal_initial(small_options(), purpose), small_options(), *self);
  fit.factors.tokens = tokens;
  return fit;
}

Fit fit_of(const Inputs& inputs, std::int64_t c) {
  return fit_of(inputs, inputs.tokens(c), inputs.concept_hash(c));
}

void each_concept_is_factorised(cluster::Communicator& comm) {
  const SharedDirectory directory(comm);
  const auto embedding = make_embedding();
  const auto inputs = make_inputs(embedding, 5);
  const auto dictionaries = run_in(comm, directory.path(), inputs);
  ASSERT_EQ(dictionaries.count(), 5);
  const cluster::StoreReader file(directory / "dictionary.h5", "dictionary", schema);
  const auto objectives = file.read_ragged<double>("dictionaries/objective");
  const auto best = file.read<std::int64_t>("dictionaries/best_iteration");
  for (std::int64_t c = 0; c < 5; ++c) {
    const auto expected = fit_of(inputs, c);
    expect_equal(dictionaries.factors(c), expected.factors);
    EXPECT_EQ(objectives.at(c), expected.objective);
    EXPECT_EQ(best.at(c), expected.best_iteration);
    EXPECT_EQ(dictionaries.failure(c), "");
  }
  EXPECT_EQ(file.read_strings("dictionaries/stop_reason").at(4), fit_of(inputs, 4).stop_reason);
  EXPECT_EQ(file.header().inputs_hash, "inputs");
  EXPECT_EQ(file.number_attribute("/", "failures"), 0);
  EXPECT_FALSE(std::filesystem::exists(directory / "journals/dictionary"));
}

void failures_are_recorded(cluster::Communicator& comm) {
  const SharedDirectory directory(comm);
  auto embedding = make_embedding();
  embedding[2 * width] = std::numeric_limits<float>::quiet_NaN();  // concepts 3 and 4 lack token 2
  const auto dictionaries = run_in(comm, directory.path(), make_inputs(embedding, 5));
  for (const std::int64_t c : {0, 1, 2}) {
    EXPECT_NE(dictionaries.failure(c).find("token 2"), std::string::npos);
    EXPECT_EQ(dictionaries.factors(c).rank, 0);
  }
  EXPECT_EQ(dictionaries.factors(3).rank, 7);
  EXPECT_EQ(dictionaries.factors(4).tokens.front(), 4);
  const cluster::StoreReader file(directory / "dictionary.h5", "dictionary", schema);
  EXPECT_EQ(file.number_attribute("/", "failures"), 3);
}

void failures_everywhere_throw(cluster::Communicator& comm) {
  const SharedDirectory directory(comm);
  auto embedding = make_embedding();
  embedding.back() = std::numeric_limits<float>::infinity();
  auto inputs = make_inputs(embedding, 2);
  std::string message;
  try {
    run_in(comm, directory.path(), inputs);
  } catch (const DataError& error) {
    message = error.what();
  }
  EXPECT_NE(message.find("token 119"), std::string::npos) << message;
  inputs.embedding = inputs.embedding.first(width * 50);
  EXPECT_THROW(run_in(comm, directory.path(), inputs), DataError);
}

// The same up to the rounding of sums over ranks.
void expect_near(const Factors& actual, const Factors& expected) {
  EXPECT_EQ(actual.tokens, expected.tokens);
  EXPECT_EQ(actual.rows, expected.rows);
  ASSERT_EQ(actual.features.size(), expected.features.size());
  for (std::size_t i = 0; i < expected.features.size(); ++i)
    EXPECT_NEAR(actual.features[i], expected.features[i],
                1e-4 * (1 + std::abs(expected.features[i])));
}

void one_dictionary_serves_all(cluster::Communicator& comm) {
  const SharedDirectory directory(comm);
  const auto embedding = make_embedding();
  auto inputs = make_inputs(embedding, 3);
  inputs.tokens = [](std::int64_t c) {
    std::vector<std::int32_t> ids(30);
    std::iota(ids.begin(), ids.end(), static_cast<std::int32_t>(20 * c));
    return ids;  // together 0 .. 69
  };
  auto options = small_options();
  options.scope = "catalog";
  const auto dictionaries = run_in(comm, directory.path(), inputs, 1, options);
  EXPECT_TRUE(dictionaries.joint());
  EXPECT_EQ(dictionaries.count(), 1);
  std::vector<std::int32_t> tokens(70);
  std::iota(tokens.begin(), tokens.end(), 0);
  tokens.erase(tokens.begin() + 1);  // special
  expect_near(dictionaries.factors(2), fit_of(inputs, tokens, "joint").factors);
  options.scope = "vocabulary";
  comm.barrier();
  EXPECT_EQ(std::ssize(run_in(comm, directory.path(), inputs, 1, options).factors(0).tokens),
            vocab - 1);
}

// As one by one, up to rounding; a concept that cannot be done fails alone.
void batches_give_the_same(cluster::Communicator& comm) {
  const SharedDirectory directory(comm);
  auto embedding = make_embedding();
  embedding[3 * width] = std::numeric_limits<float>::quiet_NaN();  // concept 4 lacks token 3
  const auto inputs = make_inputs(embedding, 5);
  auto options = small_options();
  options.batch = 3;
  const auto dictionaries = run_in(comm, directory.path(), inputs, 1, options);
  const cluster::StoreReader file(directory / "dictionary.h5", "dictionary", schema);
  const auto forms = file.read_strings("dictionaries/form");
  for (const std::int64_t c : {2, 4}) {  // of 2, every other token
    EXPECT_EQ(forms.at(c), "batched");
    expect_near(dictionaries.factors(c), fit_of(inputs, c).factors);
  }
  for (const std::int64_t c : {0, 1, 3})
    EXPECT_NE(dictionaries.failure(c).find("token 3"), std::string::npos);
}

const std::vector<CollectiveCheck> checks{
    {"BatchesGiveTheSame", batches_give_the_same},
    {"OneDictionaryServesAll", one_dictionary_serves_all},
    {"EachConceptIsFactorised", each_concept_is_factorised},
    {"FailuresAreRecorded", failures_are_recorded},
    {"FailuresEverywhereThrow", failures_everywhere_throw},
};

using DictionaryStage = LocalCheck;
TEST_P(DictionaryStage, Holds) { run(); }
INSTANTIATE_TEST_SUITE_P(Dictionary, DictionaryStage, local_cases(checks), LocalCheck::name);

TEST(DictionaryStage, GroupsShareATask) {
  const ScratchDirectory directory;
  const auto embedding = make_embedding();
  const auto inputs = make_inputs(embedding, 3);
  cluster::run_on_threads(2, [&](cluster::Communicator& comm) {
    const auto dictionaries = run_in(comm, directory.path(), inputs, 2);
    expect_near(dictionaries.factors(1), fit_of(inputs, 1).factors);
  });
}

TEST(DictionaryStage, StoppedInAFactorisationItGoesOnUnderAnotherNumberOfRanks) {
  const ScratchDirectory directory;
  const auto embedding = make_embedding();
  auto inputs = make_inputs(embedding, 1);
  auto options = small_options();
  options.scope = "catalog";
  std::atomic<int> asked = 0;
  inputs.is_special = [&](std::int32_t) {
    // Rows are made before the first iteration: the stop arrives inside the factorisation.
    if (asked++ == 0) cluster::StopFlag::raise();
    return false;
  };
  const auto run_on = [&](int ranks) {
    cluster::run_on_threads(ranks, [&](cluster::Communicator& comm) {
      run_in(comm, directory.path(), inputs, 1, options);
    });
  };
  EXPECT_THROW(run_on(2), Stopped);
  cluster::StopFlag::clear();
  EXPECT_FALSE(std::filesystem::exists(directory / "dictionary.h5"));
  EXPECT_FALSE(std::filesystem::is_empty(directory / "journals/dictionary"));
  run_on(3);
  const Dictionaries resumed(directory / "dictionary.h5");
  const auto whole = fit_of(inputs, resumed.factors(0).tokens, "joint");
  expect_near(resumed.factors(0), whole.factors);
  const cluster::StoreReader file(directory / "dictionary.h5", "dictionary", schema);
  EXPECT_EQ(file.read_ragged<double>("dictionaries/objective").at(0).size(),
            whole.objective.size());
}

// What was done one by one before a stop is not done again in batches.
TEST(DictionaryStage, JournalsAreOfConceptsNotOfBatches) {
  const ScratchDirectory directory;
  const auto embedding = make_embedding();
  auto inputs = make_inputs(embedding, 5);
  int asked = 0;
  inputs.concept_hash = [&](std::int64_t c) {
    if (++asked == 5 + 3) cluster::StopFlag::raise();  // keys, then three factorisations
    return "concept " + std::to_string(c);
  };
  const auto self = cluster::make_self_communicator();
  EXPECT_THROW(run_in(*self, directory.path(), inputs), Stopped);
  cluster::StopFlag::clear();
  auto options = small_options();
  options.batch = 2;
  const auto dictionaries = run_in(*self, directory.path(), inputs, 1, options);
  const cluster::StoreReader file(directory / "dictionary.h5", "dictionary", schema);
  const auto forms = file.read_strings("dictionaries/form");
  EXPECT_EQ(std::ranges::count(forms, "batched"), 3);  // the third goes on from its checkpoint
  for (std::int64_t c = 0; c < 5; ++c)
    expect_near(dictionaries.factors(c), fit_of(inputs, c).factors);
}

TEST(DictionaryStage, AStopInABatchLosesOnlyThat) {
  const ScratchDirectory directory;
  const auto embedding = make_embedding();
  auto inputs = make_inputs(embedding, 5);
  auto options = small_options();
  options.batch = 2;
  int asked = 0;
  inputs.concept_hash = [&](std::int64_t c) {
    if (++asked == 5 + 3) cluster::StopFlag::raise();  // in the second batch
    return "concept " + std::to_string(c);
  };
  const auto self = cluster::make_self_communicator();
  EXPECT_THROW(run_in(*self, directory.path(), inputs, 1, options), Stopped);
  cluster::StopFlag::clear();
  asked = 100;
  EXPECT_EQ(run_in(*self, directory.path(), inputs, 1, options).count(), 5);
  EXPECT_EQ(asked, 100 + 5 + 3);  // keys, and the three concepts that were not done
}

// Batches of five concepts whose checkpoints lie in a directory.
class BatchOfFive {
 public:
  BatchOfFive() {
    options_.density = 0.2;
    options_.max_iterations = 200;
    options_.checkpoint = 0;
  }
  std::filesystem::path checkpoint(std::int64_t c) const { return directory_ / std::to_string(c); }
  // Raises the stop flag when it is told the place of a checkpoint for the `raise_at`-th time.
  ConceptBatch factorise(int raise_at = 0) {
    at::set_num_threads(1);
    ConceptBatch batch(
        inputs_, options_, nullptr,
        [this, raise_at, told = 0](std::int64_t c) mutable {
          if (++told == raise_at) cluster::StopFlag::raise();
          return checkpoint(c);
        },
        context_);
    batch.factorise(std::vector<std::int64_t>{0, 1, 2, 3, 4});
    cluster::StopFlag::clear();
    return batch;
  }
  // A mark by which to know that a fit goes on from here; a worse start changes nothing else.
  void mark(std::int64_t c) const {
    auto state = load_state(checkpoint(c)).value();
    state.objective[0] += 1;
    save_state(checkpoint(c), state);
  }

 private:
  ScratchDirectory directory_;
  std::vector<float> embedding_ = make_embedding();
  Inputs inputs_ = make_inputs(embedding_, 5);
  Options options_ = small_options();
  cluster::Session session_{cluster::make_self_communicator(), {1, 1}};
  cluster::StopFlag stop_;
  cluster::Timers timers_;
  cluster::Context context_{session_, stop_, timers_, directory_.path(), true};
};

TEST(ConceptBatch, GoesOnFromItsCheckpointsAlsoOfConceptsThatHadEnded) {
  BatchOfFive uninterrupted, batch;
  auto whole = uninterrupted.factorise();
  auto stopped = batch.factorise(5 + 5);  // told to load, and to save after the first chunk
  EXPECT_THROW(stopped.take(0), Stopped);
  for (std::int64_t c = 0; c < 5; ++c) batch.mark(c);
  auto gone_on = batch.factorise();
  int had_ended = 0;
  for (std::int64_t c = 0; c < 5; ++c) {
    const auto expected = whole.take(c).value(), actual = gone_on.take(c).value();
    if (expected.objective.size() < 32) ++had_ended;
    EXPECT_EQ(actual.stop_reason, expected.stop_reason);
    EXPECT_EQ(actual.best_iteration, expected.best_iteration);
    ASSERT_EQ(actual.objective.size(), expected.objective.size());
    EXPECT_NEAR(actual.objective[0], expected.objective[0] + 1, 1e-6 * expected.objective[0]);
    EXPECT_NEAR(actual.objective.back(), expected.objective.back(),
                1e-6 * expected.objective.back());
    expect_near(actual.factors, expected.factors);
  }
  EXPECT_GT(had_ended, 0);  // or this would show little
  EXPECT_LT(had_ended, 5);
}

// A batch has one ridge; a fit whose ridge was raised goes on without it.
TEST(ConceptBatch, LeavesAFitOfAnotherRidgeToTheHost) {
  BatchOfFive batch;
  batch.factorise(5 + 5);
  auto state = load_state(batch.checkpoint(3)).value();
  state.ridge_raises = 1;
  save_state(batch.checkpoint(3), state);
  auto gone_on = batch.factorise();
  EXPECT_FALSE(gone_on.take(3));
  EXPECT_TRUE(gone_on.take(4));
}

TEST(FitRecord, DamagedStatesAreNotTaken) {
  const ScratchDirectory directory;
  const auto file = directory / "fit";
  EXPECT_FALSE(load_state(file));
  FitState state;
  state.objective = {3, 2.5};
  state.ridge = 1e-3;
  state.rows = {1, 2};
  state.values = {0.5F, -1};
  save_state(file, state);
  const auto copy = load_state(file);
  ASSERT_TRUE(copy);
  EXPECT_EQ(copy->objective, state.objective);
  EXPECT_EQ(copy->rows, state.rows);
  EXPECT_EQ(copy->values, state.values);
  EXPECT_EQ(copy->ridge, state.ridge);
  std::filesystem::resize_file(file, std::filesystem::file_size(file) - 70);
  EXPECT_FALSE(load_state(file));
}

TEST(FitRecord, RoundTrip) {
  const auto embedding = make_embedding();
  const auto fit = fit_of(make_inputs(embedding, 1), 0);
  const auto copy = unpack(pack(fit));
  expect_equal(copy.factors, fit.factors);
  EXPECT_EQ(copy.objective, fit.objective);
  EXPECT_EQ(copy.ridge, fit.ridge);
  EXPECT_EQ(copy.best_iteration, fit.best_iteration);
  EXPECT_EQ(copy.stop_reason, fit.stop_reason);
  EXPECT_THROW(unpack(pack(fit).substr(0, 100)), DataError);
}

}  // namespace
}  // namespace quench::dictionary
