#include "tests/support/device_factorise_checks.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <list>
#include <map>
#include <numeric>

#include "cluster/error.hpp"
#include "cluster/random.hpp"
#include "stages/dictionary/device_factorise.hpp"
#include "stages/dictionary/device_stop_rule.hpp"
#include "tests/support/counted_reads.hpp"
#include "tests/support/reference_factorisation.hpp"

namespace quench::testing {
namespace {

using namespace dictionary;

// Rows near a few common directions, as embeddings are.
std::vector<float> make_columns(std::int64_t rows, std::int64_t width, std::uint64_t seed) {
  constexpr std::int64_t topics = 7;
  const cluster::KeyedRandom random(seed, "device_factorise");
  std::vector<float> out(rows * width);
  for (std::int64_t i = 0; i < rows * width; ++i) {
    const auto topic = (i / width) * 31 % topics;
    const auto common = random.normal(1'000'000 + topic * width + i % width);
    out[i] = static_cast<float>(0.3 * random.normal(i) + common);
  }
  return out;
}

// The same concepts for factorise() and for a batch.
class Concepts {
 public:
  explicit Concepts(const Options& options) : options_(options) {}
  Concepts(const Options& options, std::int64_t width, const std::vector<std::int64_t>& counts)
      : options_(options) {
    for (const auto count : counts) add(make_columns(count, width, shards_.size() + 1), width);
  }

  void add(const std::vector<float>& columns, std::int64_t width, const InitialRows& initial = {}) {
    const auto count = static_cast<std::int64_t>(columns.size()) / width;
    std::vector<std::int32_t> tokens(count);
    std::iota(tokens.begin(), tokens.end(), 0);
    shards_.push_back({Rows(columns, tokens, width, 1.5), 0, count});
    const auto purpose = "concept " + std::to_string(jobs_.size());
    jobs_.push_back({shards_.back().rows, initial ? initial : normal_initial(options_, purpose)});
  }
  std::vector<std::optional<Fit>> batch(at::Device device, std::int64_t chunk = 16,
                                        const BatchHooks& hooks = {}) const {
    return factorise_batch(jobs_, options_, device, hooks, chunk);
  }
  // Those that have a state go on from it, and must not ask for their G_0.
  std::vector<std::optional<Fit>> go_on(const std::map<std::int64_t, FitState>& states,
                                        at::Device device, const BatchHooks& hooks = {}) const {
    auto jobs = jobs_;
    for (const auto& [job, state] : states) jobs[job] = {jobs[job].rows, {}, &state};
    return factorise_batch(jobs, options_, device, hooks);
  }
  // One of them on the host.
  Fit go_on_alone(std::int64_t job, const FitState& state) const {
    FitHooks hooks;
    hooks.resume = [&] { return state; };
    return factorise(*std::next(shards_.begin(), job), {}, options_,
                     *cluster::make_self_communicator(), hooks);
  }
  // On the host, one after the other.
  std::vector<Fit> alone() const {
    std::vector<Fit> out;
    const auto self = cluster::make_self_communicator();
    for (const auto& shard : shards_)
      out.push_back(factorise(shard, jobs_[out.size()].initial, options_, *self));
    return out;
  }

 private:
  Options options_;
  std::list<Shard> shards_;  // where jobs refer to
  std::vector<DeviceJob> jobs_;
};

void expect_close(const std::vector<float>& actual, const std::vector<float>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i)
    ASSERT_NEAR(actual[i], expected[i], 1e-3 * (1 + std::abs(expected[i]))) << i;
}

void expect_same(const Fit& actual, const Fit& expected) {
  EXPECT_EQ(actual.stop_reason, expected.stop_reason);
  // Where nothing moves any more, rounding says which iteration is the best one.
  EXPECT_NEAR(actual.objective.at(actual.best_iteration),
              expected.objective.at(expected.best_iteration), 1e-6 * expected.objective[0]);
  EXPECT_EQ(actual.ridge, expected.ridge);
  EXPECT_EQ(actual.form, "batched");
  ASSERT_EQ(actual.objective.size(), expected.objective.size());
  for (std::size_t i = 0; i < expected.objective.size(); ++i)
    EXPECT_NEAR(actual.objective[i], expected.objective[i], 1e-6 * expected.objective[i]) << i;
  EXPECT_EQ(actual.factors.width, expected.factors.width);
  EXPECT_EQ(actual.factors.rank, expected.factors.rank);
  EXPECT_EQ(actual.factors.rows, expected.factors.rows);
  expect_close(actual.factors.coefficients, expected.factors.coefficients);
  expect_close(actual.factors.features, expected.factors.features);
}

void expect_same_fits(const Concepts& concepts, at::Device device, std::int64_t chunk = 16) {
  const auto expected = concepts.alone();
  const auto actual = concepts.batch(device, chunk);
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) {
    SCOPED_TRACE("concept " + std::to_string(i));
    ASSERT_TRUE(actual[i]);
    expect_same(*actual[i], expected[i]);
  }
}

// Rules that have seen different numbers of objectives, and then see some more together.
void the_stop_rule_is_the_hosts(at::Device device) {
  constexpr std::int64_t jobs = 5;
  StopOptions options;
  options.window = 6;
  options.progress = 0.02;
  options.patience = 4;
  options.tolerance = 0.3;
  options.max_iterations = 25;
  const cluster::KeyedRandom random(11, "stop rules");
  const auto objective = [&](std::int64_t job, std::int64_t iteration) {
    return 10 + 20.0 / static_cast<double>(1 + iteration) +
           0.2 * random.normal(99 * job + iteration);
  };
  for (const auto* kind : {"progress", "patience"}) {
    options.stop = kind;
    std::vector<StopRule> rules(jobs, StopRule(options));
    for (std::int64_t job = 0; job < jobs; ++job)
      for (std::int64_t i = 0; i < 2 * job; ++i) rules[job].improves(objective(job, i));
    DeviceStopRule rule(rules, device);
    auto going = rule.ended().logical_not();
    std::int64_t ended = 0;
    for (std::int64_t i = 0; i < options.max_iterations; ++i) {
      std::vector<double> values;
      for (std::int64_t job = 0; job < jobs; ++job) values.push_back(objective(job, 2 * job + i));
      const auto was_going = going.cpu();
      const auto better = rule.improves(at::tensor(values, at::kDouble).to(device), going).cpu();
      going = going & rule.ended().logical_not();
      for (std::int64_t job = 0; job < jobs; ++job) {
        const bool expected = rules[job].reason().empty() && rules[job].improves(values[job]);
        EXPECT_EQ(better[job].item<bool>(), expected) << kind << job << " " << i;
        EXPECT_EQ(going[job].item<bool>(), rules[job].reason().empty()) << kind << job << " " << i;
        EXPECT_EQ(rule.best_iteration()[job].item<std::int64_t>(), rules[job].best_iteration());
        if (was_going[job].item<bool>() && !rules[job].reason().empty()) ++ended;
      }
    }
    EXPECT_EQ(ended, jobs);
  }
}

Options options_of(std::int64_t rank, double density) {
  Options options;
  options.rank = rank;
  options.density = density;
  return options;
}

// They end at different iterations, within chunks: the longer ones go on without the others.
void fits_end_where_progress_does(at::Device device) {
  for (const std::int64_t chunk : {1, 7, 16})
    expect_same_fits(Concepts(options_of(12, 0.03), 20, {431, 60, 200, 530, 199}), device, chunk);
}

void fits_end_where_patience_does(at::Device device) {
  auto options = options_of(8, 0.05);
  options.stop = "patience";
  options.patience = 6;
  options.tolerance = 0.5;
  options.max_iterations = 90;
  for (const std::int64_t chunk : {1, 10})
    expect_same_fits(Concepts(options, 16, {200, 90, 301}), device, chunk);
}

void fits_end_at_the_last_iteration(at::Device device) {
  auto options = options_of(10, 0.1);
  options.max_iterations = 11;
  expect_same_fits(Concepts(options, 24, {80, 120}), device, 4);
}

void more_features_than_width(at::Device device) {
  auto options = options_of(24, 0.02);
  options.max_iterations = 30;
  expect_same_fits(Concepts(options, 16, {700, 640}), device);
}

void one_entry_a_feature(at::Device device) {
  expect_same_fits(Concepts(options_of(5, 0.001), 24, {150, 40}), device);
}

// Fewer rows than features, and a neighbour in the batch with many more. Against the reference's
// steps: the host's first sums are float32, which a G^T G of rank 4 shows.
void fewer_rows_than_features(at::Device device) {
  auto options = options_of(9, 0.01);
  options.max_iterations = 3;
  const auto columns = make_columns(4, 30, 1);
  Concepts concepts(options);
  concepts.add(columns, 30);
  concepts.add(make_columns(300, 30, 2), 30);
  const auto fits = concepts.batch(device);
  ASSERT_TRUE(fits[0] && fits[1]);
  auto scaled = columns;
  for (auto& value : scaled) value *= 1.5F;
  ReferenceFactorisation reference(scaled, 30, options, normal_initial(options, "concept 0")(0, 4));
  for (const double objective : fits[0]->objective) {
    const double expected = reference.iterate();
    EXPECT_NEAR(objective, expected, 1e-6 * fits[0]->objective[0]);
  }
  EXPECT_EQ(fits[0]->factors.rows.size(), 9U);
  EXPECT_LE(*std::ranges::max_element(fits[0]->factors.rows), 3);
  expect_same(*fits[1], concepts.alone()[1]);
}

void a_batch_of_one(at::Device device) {
  expect_same_fits(Concepts(options_of(6, 0.05), 12, {120}), device);
  EXPECT_TRUE(Concepts(options_of(6, 0.05)).batch(device).empty());
}

// A system that is singular at the first ridge, and one that overflows, are the host's; the others
// of the batch do not notice.
void what_the_host_must_do(at::Device device) {
  auto options = options_of(6, 0.5);
  options.ridge = 1e-300;
  options.max_iterations = 10;
  Concepts concepts(options);
  const auto of_ones = [](float one) {
    return [one](std::int64_t, std::int64_t count) { return at::full({count, 6}, one); };
  };
  concepts.add(make_columns(90, 12, 1), 12);
  concepts.add(make_columns(4, 12, 2), 12, of_ones(1));  // G^T G: fours, without rounding
  concepts.add(make_columns(50, 12, 3), 12, of_ones(std::numeric_limits<float>::infinity()));
  const auto fits = concepts.batch(device);
  ASSERT_TRUE(fits[0]);
  EXPECT_FALSE(fits[1]);
  EXPECT_FALSE(fits[2]);
  expect_same(*fits[0], Concepts(options, 12, {90}).alone()[0]);
}

void nothing_but_zeros(at::Device device) {
  Concepts concepts(options_of(3, 0.01));
  concepts.add(std::vector<float>(5 * 4, 0), 4);
  concepts.add(make_columns(250, 4, 3), 4);
  const auto fits = concepts.batch(device);
  ASSERT_TRUE(fits[0]);
  EXPECT_EQ(fits[0]->objective[fits[0]->best_iteration], 0);
  EXPECT_EQ(fits[0]->factors.rows, (std::vector<std::int32_t>{0, 0, 0}));
}

void a_stop_ends_it(at::Device device) {
  const auto columns = make_columns(50, 8, 1);
  std::vector<std::int32_t> tokens(50);
  const Rows rows(columns, tokens, 8, 1);
  const auto options = options_of(4, 0.1);
  const std::vector<DeviceJob> jobs{{rows, normal_initial(options, "test")}};
  int asked = 0;
  EXPECT_THROW(
      factorise_batch(jobs, options, device, {.stop = [&] { return ++asked == 2; }, .save = {}}, 3),
      Stopped);
  EXPECT_EQ(asked, 2);
}

// What a batch saves by the time that it is stopped, when it is asked for the `asks`-th time.
std::map<std::int64_t, FitState> stopped_batch(const Concepts& concepts, at::Device device,
                                               std::int64_t chunk, int asks) {
  std::map<std::int64_t, FitState> saved;
  BatchHooks hooks;
  int asked = 0;
  hooks.stop = [&] { return ++asked == asks; };
  hooks.save = [&](std::int64_t job, const FitState& state) { saved[job] = state; };
  EXPECT_THROW(concepts.batch(device, chunk, hooks), Stopped);
  return saved;
}

// In the middle, where some have ended and others have not.
void a_stopped_batch_goes_on(at::Device device) {
  auto options = options_of(12, 0.03);
  options.checkpoint = 1e9;
  options.window = 10;
  const Concepts concepts(options, 20, {431, 60, 200, 530, 199});
  const auto whole = concepts.batch(device);
  constexpr std::int64_t chunk = 7;
  for (const int chunks : {0, 1, 2, 3}) {
    SCOPED_TRACE(std::to_string(chunks) + " chunks");
    const std::size_t done = chunks * chunk;
    const auto saved = stopped_batch(concepts, device, chunk, chunks + 1);
    ASSERT_EQ(saved.size(), chunks == 0 ? 0U : whole.size());
    std::size_t ended = 0;
    for (const auto& [job, state] : saved) {
      EXPECT_EQ(state.objective.size(), std::min(done, whole[job]->objective.size()));
      if (whole[job]->objective.size() <= done) ++ended;
      auto alone = concepts.go_on_alone(job, state);
      alone.form = "batched";
      expect_same(alone, *whole[job]);
    }
    if (chunks == 3) {
      ASSERT_GT(ended, 0U);  // or this would show little
      ASSERT_LT(ended, whole.size());
    }
    const auto gone_on = concepts.go_on(saved, device);
    for (std::size_t i = 0; i < whole.size(); ++i) expect_same(*gone_on[i], *whole[i]);
  }
}

// Of all that have ended, nothing is left to do; of one, nothing but the others.
void what_has_ended_is_not_done_again(at::Device device) {
  auto options = options_of(12, 0.03);
  options.checkpoint = 0;
  const Concepts concepts(options, 20, {431, 60, 200});
  std::map<std::int64_t, FitState> saved;
  BatchHooks hooks;
  hooks.save = [&](std::int64_t job, const FitState& state) { saved[job] = state; };
  const auto whole = concepts.batch(device, 1, hooks);
  std::int64_t longest = 0;
  for (const auto& fit : whole) longest = std::max(longest, std::ssize(fit->objective));
  for (const auto& [job, state] : saved) {
    const auto length = std::ssize(whole[job]->objective);
    EXPECT_EQ(std::ssize(state.objective), std::min(length, longest - 1));  // the last ends it all
  }
  std::erase_if(saved,
                [&](const auto& one) { return std::ssize(one.second.objective) == longest - 1; });
  ASSERT_FALSE(saved.empty());
  ASSERT_LT(saved.size(), whole.size());
  for (auto& [job, state] : saved) state.objective[0] += 1;  // a mark
  hooks.save = [&](std::int64_t job, const FitState&) { EXPECT_FALSE(saved.contains(job)); };
  const auto gone_on = concepts.go_on(saved, device, hooks);
  for (std::size_t i = 0; i < whole.size(); ++i) {
    const bool marked = saved.contains(static_cast<std::int64_t>(i));
    EXPECT_NEAR(gone_on[i]->objective[0], whole[i]->objective[0] + (marked ? 1 : 0), 1e-3);
    EXPECT_EQ(gone_on[i]->factors.rows, whole[i]->factors.rows);
  }
}

// Each chunk anew of those on their way, once of those that have ended; a disk that is full ends
// nothing.
void checkpoints_are_made_between_chunks(at::Device device) {
  auto options = options_of(12, 0.03);
  options.checkpoint = 0;
  const Concepts concepts(options, 20, {431, 60, 200});
  std::map<std::int64_t, std::vector<std::size_t>> saved;
  BatchHooks hooks;
  hooks.save = [&](std::int64_t job, const FitState& state) {
    saved[job].push_back(state.objective.size());
  };
  const auto whole = concepts.batch(device, 5, hooks);
  std::size_t longest = 0;
  for (const auto& fit : whole) longest = std::max(longest, fit->objective.size());
  for (const auto& [job, sizes] : saved) {
    std::vector<std::size_t> expected;
    for (std::size_t at = 5; at < longest; at += 5)
      if (const auto size = std::min(at, whole[job]->objective.size());
          expected.empty() || expected.back() != size)
        expected.push_back(size);
    EXPECT_EQ(sizes, expected) << job;
  }
  EXPECT_EQ(saved.size(), whole.size());
  int tries = 0;
  hooks.save = [&](std::int64_t, const FitState&) {
    ++tries;
    throw DataError("full");
  };
  const auto unsaved = concepts.batch(device, 5, hooks);
  EXPECT_GT(tries, 1);
  for (std::size_t i = 0; i < whole.size(); ++i) expect_same(*unsaved[i], *whole[i]);
}

// The host asks for nothing between chunks: as many numbers and lists in three times the
// iterations.
void nothing_is_read_within_a_chunk(at::Device device) {
  auto options = options_of(4, 0.1);
  options.stop = "patience";
  const auto reads_of = [&](std::int64_t iterations) {
    options.max_iterations = iterations;
    const Concepts concepts(options, 8, {50, 40});
    const CountedReads reads;
    concepts.batch(device, 100);
    return reads.count();
  };
  const auto few = reads_of(10);
  EXPECT_GT(few, 0);
  EXPECT_EQ(reads_of(30), few);
}

// Against a stable sort; small whole numbers make ties, zeros of both signs among them.
void winners_are_exact(at::Device device) {
  at::manual_seed(5);
  const auto values = at::randint(-3, 4, {4, 9, 33}).to(at::kFloat) * -1;
  const std::vector<std::int64_t> kept{1, 33, 12, 7}, counts{33, 33, 20, 8};
  const auto whole = at::tensor(kept, at::kLong);
  const auto padding = at::arange(33, at::kLong) >= at::tensor(counts, at::kLong).unsqueeze(1);
  const auto mask = winner_mask(values.to(device), padding.to(device), whole.to(device), 33).cpu();
  for (std::int64_t b = 0; b < 4; ++b) {
    const auto order = values[b].slice(1, 0, counts[b]).abs().argsort(true, 1, true);
    const auto expected =
        at::zeros({9, 33}, at::kBool).scatter(1, order.slice(1, 0, kept[b]), true);
    EXPECT_TRUE(at::equal(mask[b], expected)) << b;
  }
}

}  // namespace

const std::vector<DeviceCheck>& device_factorise_checks() {
  static const std::vector<DeviceCheck> checks{
      {"WinnersAreExact", winners_are_exact},
      {"TheStopRuleIsTheHosts", the_stop_rule_is_the_hosts},
      {"FitsEndWhereProgressDoes", fits_end_where_progress_does},
      {"FitsEndWherePatienceDoes", fits_end_where_patience_does},
      {"FitsEndAtTheLastIteration", fits_end_at_the_last_iteration},
      {"MoreFeaturesThanWidth", more_features_than_width},
      {"OneEntryAFeature", one_entry_a_feature},
      {"FewerRowsThanFeatures", fewer_rows_than_features},
      {"ABatchOfOne", a_batch_of_one},
      {"WhatTheHostMustDo", what_the_host_must_do},
      {"NothingButZeros", nothing_but_zeros},
      {"AStopEndsIt", a_stop_ends_it},
      {"AStoppedBatchGoesOn", a_stopped_batch_goes_on},
      {"WhatHasEndedIsNotDoneAgain", what_has_ended_is_not_done_again},
      {"CheckpointsAreMadeBetweenChunks", checkpoints_are_made_between_chunks},
      {"NothingIsReadWithinAChunk", nothing_is_read_within_a_chunk},
  };
  return checks;
}

}  // namespace quench::testing
