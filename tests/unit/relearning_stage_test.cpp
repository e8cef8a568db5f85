#include <set>

#include "cluster/collectives.hpp"
#include "cluster/error.hpp"
#include "cluster/store.hpp"
#include "model/score.hpp"
#include "stages/relearning/relearning.hpp"
#include "tests/support/scratch_directory.hpp"
#include "tests/unit/tiny_model.hpp"

namespace quench::relearning {
namespace {

using namespace model::testing;

// What the first probe's first option got from each seed's model, on average.
double mean_of(const SeedsSaid& said) {
  double sum = 0;
  for (const auto& one : said.by_seed) sum += static_cast<double>(one.at(0).values.at(0));
  return sum / static_cast<double>(said.by_seed.size());
}

// Attacks on concepts 0 and 2 of three, with figures that are plain sums.
class RelearningStage : public ::testing::Test {
 protected:
  RelearningStage() {
    inputs_.concepts = 3;
    inputs_.attacked = {0, 2};
    inputs_.name = inputs_.concept_hash = [](std::int64_t c) { return std::to_string(c); };
    inputs_.paragraphs = [](std::int64_t c) {
      const auto id = static_cast<std::int32_t>(c);
      std::vector<std::vector<std::int32_t>> rows;
      for (std::int32_t i = 0; i < 6; ++i) rows.push_back({5 + i, 3, 6 + id, 20 - i, 9});
      return rows;
    };
    inputs_.probes = [](std::int64_t c) {
      std::vector<Probe> probes(2);
      for (auto& probe : probes) probe.context = {5, 3, 9 + static_cast<std::int32_t>(c)};
      probes[0].continuations = {{4, 7}, {12}};
      probes[1].continuations = {{8}, {11}, {10, 2}};
      return probes;
    };
    inputs_.measure = [](const model::Transformer& model, std::span<const Probe> probes) {
      Said said;
      for (const auto& probe : probes) {
        const std::vector<model::ScoreItem> item{{probe.context, probe.continuations}};
        const auto scores = model::score(model, item);
        said.emplace_back();
        for (const auto& s : scores[0]) said.back().values.push_back(static_cast<float>(s.mean()));
      }
      return said;
    };
    inputs_.figures = [](const SeedsSaid& said) {
      const auto seeds = static_cast<double>(said.seeds.size());
      return std::vector<Estimate>(figure_names().size(),
                                   {mean_of(said), {seeds, 0}, said.concept_index});
    };
    inputs_.mean_figures = [](cluster::Communicator& world, std::span<const SeedsSaid> mine) {
      double sum = 0;
      for (const auto& said : mine) sum += mean_of(said);
      const auto count = cluster::all_reduce_value(world, std::ssize(mine), cluster::Op::sum);
      const double all = cluster::all_reduce_value(world, sum, cluster::Op::sum);
      return std::vector<Estimate>(figure_names().size(),
                                   {all / static_cast<double>(count), {0, 0}, count});
    };
    inputs_.config = &config_;
    inputs_.base = random_weights(config_);
    inputs_.joint = model::make_overlay(
        inputs_.base.embedding, config_.stored_type,
        {config_.width, {3}, std::vector<float>(static_cast<std::size_t>(config_.width), 2)}, 1);
    inputs_.run_id = "run";
    inputs_.inputs_hash = "inputs";
    options_.seeds = 2;
    options_.first_seed = 5;
    options_.steps = 5;
    options_.points = 2;
    options_.learning_rate = 3e-3;
  }

  // The stage's file, of so many ranks.
  cluster::StoreReader run_on(int ranks) {
    const auto directory = scratch_ / ("run" + std::to_string(++runs_));
    std::filesystem::create_directories(directory);
    cluster::run_on_threads(ranks, [&](cluster::Communicator& comm) {
      cluster::Session session(comm.split(0, comm.rank()), {1, 1});
      cluster::StopFlag stop;
      cluster::Timers timers;
      cluster::Context context{session, stop, timers, directory, true};
      run(inputs_, options_, context);
    });
    return {directory / "relearning.h5", "relearning", schema};
  }

  quench::testing::ScratchDirectory scratch_;
  int runs_ = 0;
  model::ModelConfig config_ = tiny_config(model::Architecture::llama);
  Inputs inputs_;
  Options options_;
};

TEST_F(RelearningStage, MeansAreOfTheAttacksTheyAreOf) {
  using Numbers = std::vector<std::int64_t>;
  using Bytes = std::vector<std::uint8_t>;
  for (const int ranks : {1, 2, 3}) {  // a rank of three has no concept
    const auto store = run_on(ranks);
    EXPECT_EQ(store.read<std::int64_t>("attacks/concept"), (Numbers{0, 0, 0, 0, 2, 2, 2, 2}));
    EXPECT_EQ(store.read<std::int64_t>("attacks/seed"), (Numbers{5, 5, 6, 6, 5, 5, 6, 6}));
    EXPECT_EQ(store.read<std::uint8_t>("attacks/erased"), (Bytes{1, 0, 1, 0, 1, 0, 1, 0}));
    EXPECT_EQ(store.read<std::int64_t>("over_seeds/concept"), (Numbers{0, 0, 2, 2}));
    EXPECT_EQ(store.read<std::int64_t>("over_seeds/seeds"), (Numbers{2, 2, 2, 2}));
    EXPECT_EQ(store.read<std::uint8_t>("over_seeds/erased"), (Bytes{1, 0, 1, 0}));
    EXPECT_EQ(store.read<std::uint8_t>("mean/erased"), (Bytes{1, 0}));
    EXPECT_EQ(store.number_attribute("/", "seeds"), 2);
    const auto each = store.read_ragged<double>("curves/figures");
    const auto over_seeds = store.read_ragged<double>("over_seeds/figures");
    const auto mean = store.read_ragged<double>("mean/figures");
    const auto width = store.read_strings("figures").size();
    ASSERT_EQ(width, 4 * figure_names().size());
    for (std::size_t row = 0; row < 4; ++row)  // 3 points
      ASSERT_EQ(over_seeds[row].size(), 3 * width);
    std::set<double> different;
    for (std::size_t at = 0; at < 3 * width; at += width) {
      for (std::size_t row = 0; row < 4; ++row) {
        const std::size_t first = row / 2 * 4 + row % 2;  // the attack of the first seed
        EXPECT_NEAR(over_seeds[row][at], (each[first][at] + each[first + 2][at]) / 2, 1e-6);
        EXPECT_EQ(each[first][at + 1], 1);  // of one seed each
        EXPECT_EQ(over_seeds[row][at + 1], 2);
        if (at > 0) different.insert({each[first][at], each[first + 2][at]});
      }
      for (std::size_t start = 0; start < 2; ++start) {
        EXPECT_NEAR(mean[start][at], (over_seeds[start][at] + over_seeds[start + 2][at]) / 2, 1e-6);
        EXPECT_EQ(mean[start][at + 3], 2);
      }
    }
    EXPECT_EQ(different.size(), 16U);  // so that no two could be mixed up
    const Numbers steps{0, 3, 5};
    EXPECT_EQ(store.read_ragged<std::int64_t>("over_seeds/steps"), std::vector<Numbers>(4, steps));
    EXPECT_EQ(store.read_ragged<std::int64_t>("mean/steps"), std::vector<Numbers>(2, steps));
  }
}

TEST_F(RelearningStage, StoredValuesAreWhatTheModelsSaid) {
  const auto store = run_on(1);
  const auto counts = store.read_ragged<std::int64_t>("curves/counts").at(0);
  const auto values = store.read_ragged<float>("curves/values").at(0);
  const auto said = said_of(counts, values, 3);
  const auto curve = attack(*cluster::make_self_communicator(), inputs_, 0, true, 5, options_, {});
  ASSERT_EQ(said.size(), curve.size());
  for (std::size_t p = 0; p < said.size(); ++p) {
    ASSERT_EQ(said[p].size(), 2U);
    for (std::size_t i = 0; i < 2; ++i) {
      const auto &stored = said[p][i].values, &fresh = curve[p].measurements[i].values;
      ASSERT_EQ(stored.size(), fresh.size());
      for (std::size_t v = 0; v < fresh.size(); ++v) EXPECT_NEAR(stored[v], fresh[v], 1e-5) << p;
    }
  }
  EXPECT_THROW(said_of(counts, values, 2), DataError);
  EXPECT_THROW(said_of(counts, values, 4), DataError);
}

TEST_F(RelearningStage, FailedAttacksAreLeftOutOfMeans) {
  const auto good = inputs_.paragraphs;
  inputs_.paragraphs = [&](std::int64_t c) {
    return c == 0 ? std::vector<std::vector<std::int32_t>>{{5}} : good(c);
  };
  options_.control = false;
  const auto store = run_on(2);
  EXPECT_EQ(store.number_attribute("/", "failures"), 2);
  EXPECT_EQ(store.read<std::int64_t>("over_seeds/seeds"), (std::vector<std::int64_t>{0, 2}));
  const auto figures = store.read_ragged<double>("over_seeds/figures");
  const auto mean = store.read_ragged<double>("mean/figures");
  EXPECT_TRUE(figures[0].empty());
  ASSERT_EQ(mean.size(), 1U);
  EXPECT_EQ(mean[0][0], figures[1][0]);
  EXPECT_EQ(mean[0][3], 1);
}

}  // namespace
}  // namespace quench::relearning
