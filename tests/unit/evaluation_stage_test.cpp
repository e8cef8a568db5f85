#include <algorithm>
#include <cmath>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>

#include "cluster/random.hpp"
#include "stages/batch_format.hpp"
#include "stages/evaluation/evaluation.hpp"
#include "stages/evaluation/judge.hpp"
#include "tests/support/scratch_directory.hpp"
#include "tests/unit/tiny_model.hpp"
#include "tests/unit/tokenizer_fixture.hpp"

namespace quench::evaluation {
namespace {

constexpr std::int64_t concepts = 3, questions = 6;

// Three concepts whose questions hold tokens of their own, two of which are edited, over a random
// model. Each concept's right options are those that the model prefers.
class EvaluationStage : public model::TokenizerFixture {
 protected:
  void SetUp() override {
    TokenizerFixture::SetUp();
    tokenizer_ = std::make_unique<model::Tokenizer>(load(byte_level()));
    config_ = model::testing::tiny_config(model::Architecture::llama);
    config_.vocab = tokenizer_->vocab_size();
    config_.stop_ids = {262};
    weights_ = model::testing::random_weights(config_);
    base_ = std::make_unique<model::Transformer>(config_, weights_);
    measure_.batch_tokens = 96;
    measure_.asking.open_tokens = 4;
    measure_.asking.instruction_tokens = 5;
    meter_ = std::make_unique<Meter>(*base_, *tokenizer_, measure_);
    make_probes();
    options_.resamples = 60;
  }

  std::int32_t id(std::uint64_t key, std::uint64_t bound) const {
    return 'A' + static_cast<std::int32_t>(random_.below(key, bound));
  }

  Probe make_probe(ProbeKind kind, Subset subset, Split split, std::int32_t own) {
    Probe probe;
    probe.id = static_cast<std::int64_t>(probes_.size());
    probe.kind = kind;
    probe.subset = subset;
    probe.split = split;
    const auto key = static_cast<std::uint64_t>(probe.id) * 100;
    for (std::uint64_t i = 0; i < 5 + key / 100 % 4; ++i) probe.context.push_back(id(key + i, 20));
    if (own >= 0) probe.context[1] = own;
    const auto count = kind == ProbeKind::text ? 1U : kind == ProbeKind::choice ? 4U : 0U;
    for (std::uint64_t k = 0; k < count; ++k) {
      auto& continuation = probe.continuations.emplace_back();
      for (std::uint64_t i = 0; i < 1 + k % 2 + 3 * (count == 1 ? 1U : 0U); ++i)
        continuation.push_back(id(key + 50 + 4 * k + i, 20));
    }
    if (kind == ProbeKind::choice) prefer(probe);
    if (kind == ProbeKind::open || kind == ProbeKind::instruction)
      probe.asked = "what " + std::to_string(probe.id) + " asks";
    return probe;
  }

  // The option that the base model prefers is the right one.
  void prefer(Probe& probe) const {
    const auto self = cluster::make_self_communicator();
    const auto said = meter_->measure(*self, *base_, std::span(&probe, 1), {});
    const auto& values = said[0].values;
    probe.correct = static_cast<std::int32_t>(std::ranges::max_element(values) - values.begin());
  }

  void make_probes() {
    const auto add = [&](ProbeKind kind, Subset subset, Split split, std::int32_t own) {
      probes_.push_back(make_probe(kind, subset, split, own));
    };
    source_.concepts = concepts;
    source_.offsets = {0};
    for (std::int32_t c = 0; c < concepts; ++c) {
      for (std::int64_t q = 0; q < questions; ++q) {
        const auto split = q % 3 == 0 ? Split::train : Split::test;
        add(ProbeKind::choice, Subset::own, split, 'a' + c);
        add(ProbeKind::choice, Subset::similar, split, q == 1 ? 'a' + c : -1);
      }
      add(ProbeKind::open, Subset::own, Split::test, 'a' + c);
      add(ProbeKind::text, Subset::own, Split::test, 'a' + c);
      source_.offsets.push_back(std::ssize(probes_));
    }
    for (int q = 0; q < 40; ++q)  // more than a chunk
      add(ProbeKind::choice, Subset::general, q % 2 == 0 ? Split::train : Split::test,
          q == 5 ? 'b' : -1);
    for (int q = 0; q < 4; ++q)
      add(ProbeKind::instruction, Subset::general, Split::test, q == 0 ? 'a' : -1);
    source_.offsets.push_back(std::ssize(probes_));
    const auto slice = [this](std::int64_t from, std::int64_t to) {
      return std::vector<Probe>(probes_.begin() + from, probes_.begin() + to);
    };
    source_.of_concept = [=, this](std::int64_t c) {
      return slice(source_.offsets[c], source_.offsets[c + 1]);
    };
    source_.shared = [=, this] { return slice(source_.offsets[concepts], std::ssize(probes_)); };
    source_.name = [](std::int64_t c) { return "concept " + std::to_string(c); };
    source_.hash = [](std::int64_t c) { return "hash " + std::to_string(c); };
  }

  // The edits of these concepts in one model: 'a' + c is moved.
  model::Transformer edited(std::span<const std::int64_t> members) const {
    model::RowDeltas deltas{config_.width, {}, {}};
    for (std::int64_t c = 0; c < concepts; ++c) {
      if (std::ranges::find(members, c) == members.end()) continue;
      deltas.ids.push_back('a' + static_cast<std::int32_t>(c));
      for (std::int64_t x = 0; x < config_.width; ++x)
        deltas.values.push_back((x + c) % 2 == 0 ? 2.0f : -1.0f);
    }
    return {config_, weights_,
            model::make_overlay(weights_.embedding, config_.stored_type, deltas, 1)};
  }

  // evaluation.h5 of so many ranks.
  std::filesystem::path make(int ranks, const std::filesystem::path& cache = {}) {
    const auto directory = scratch_ / ("run" + std::to_string(++runs_));
    std::filesystem::create_directories(directory);
    cluster::run_on_threads(ranks, [&](cluster::Communicator& comm) {
      cluster::Session session(comm.split(0, comm.rank()), {1, 1});
      cluster::StopFlag stop;
      cluster::Timers timers;
      cluster::Context context{session, stop, timers, directory, true};
      const auto baseline = run_baseline(
          {source_, meter_.get(), base_.get(), "model", "inputs", "run", cache}, options_, context);
      const std::vector<std::int64_t> two{0, 1};
      const auto joint = edited(two);
      Inputs in;
      in.probes = source_;
      in.meter = meter_.get();
      in.base = base_.get();
      in.baseline = &baseline;
      in.alone = [&](std::int64_t c) { return edited(std::span(&c, 1)); };
      in.joint = &joint;
      in.some = [&](std::span<const std::int64_t> some) { return edited(some); };
      in.edited = {true, true, false};
      in.status = {"ok", "below_target", "unknown_to_model"};
      in.inputs_hash = "evaluation";
      in.run_id = "run";
      run(in, options_, context);
    });
    return directory / "evaluation.h5";
  }

  // What so many ranks say about the judge of the evaluation in `directory`; empty: judged.
  std::string judge(const std::filesystem::path& directory, int ranks = 1) {
    std::string waits_for;
    cluster::run_on_threads(ranks, [&](cluster::Communicator& comm) {
      cluster::Session session(comm.split(0, comm.rank()), {1, 1});
      cluster::StopFlag stop;
      cluster::Timers timers;
      cluster::Context context{session, stop, timers, directory, true};
      const Measurements baseline(directory / "baseline.h5", "baseline", "measurements");
      const auto said = run_judge({.probes = source_,
                                   .tokenizer = tokenizer_.get(),
                                   .baseline = &baseline,
                                   .inputs_hash = "evaluation",
                                   .run_id = "run",
                                   .judge = "my-judge"},
                                  options_, context);
      if (comm.rank() == 0) waits_for = said;
    });
    return waits_for;
  }

  const quench::testing::ScratchDirectory scratch_;
  const cluster::KeyedRandom random_{4, "stage"};
  std::unique_ptr<model::Tokenizer> tokenizer_;
  model::ModelConfig config_;
  model::Weights weights_;
  MeasureOptions measure_;
  std::unique_ptr<model::Transformer> base_;
  std::unique_ptr<Meter> meter_;
  std::vector<Probe> probes_;
  ProbeSource source_;
  Options options_;
  int runs_ = 0;
};

void expect_near(const std::vector<double>& a, const std::vector<double>& b, double tolerance) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (std::isnan(a[i]) && std::isnan(b[i])) continue;
    EXPECT_NEAR(a[i], b[i], tolerance * std::max(1.0, std::abs(a[i]))) << i;
  }
}

Scores row(const cluster::StoreReader& store, const std::string& name, std::size_t index) {
  const auto width = score_columns().size();
  return from_row(std::span<const double>(store.read<double>(name)).subspan(index * width, width));
}

TEST_F(EvaluationStage, TheSameOnAnyNumberOfRanks) {
  const cluster::StoreReader one(make(1), "evaluation", schema);
  for (const int ranks : {2, 3}) {
    const cluster::StoreReader other(make(ranks), "evaluation", schema);
    for (const char* name :
         {"alone/scores", "joint/scores", "alone/mean", "joint/mean", "curve/means"})
      expect_near(one.read<double>(name), other.read<double>(name), 2e-4);
    EXPECT_EQ(one.read<std::int64_t>("curve/order"), other.read<std::int64_t>("curve/order"));
    EXPECT_EQ(one.read_strings("status"), other.read_strings("status"));
    EXPECT_EQ(one.read_ragged<std::int32_t>("joint/measurements/answers"),
              other.read_ragged<std::int32_t>("joint/measurements/answers"));
  }
}

TEST_F(EvaluationStage, FiguresAreOfTheTestSplitAndTellTheirN) {
  const cluster::StoreReader store(make(2), "evaluation", schema);
  const auto joint = row(store, "joint/scores", 0);
  EXPECT_EQ(joint["own_margin"].n, 4);
  EXPECT_EQ(joint["general_margin"].n, 20);
  EXPECT_EQ(joint["own_perplexity"].n, 1);
  EXPECT_EQ(joint["general_answered"].n, 4);
  EXPECT_EQ(joint["base_own_accuracy"].value, 1);  // as the questions were made
  EXPECT_LE(joint["own_left"].interval.low, joint["own_left"].value);
  EXPECT_GE(joint["own_left"].interval.high, joint["own_left"].value);
  EXPECT_EQ(joint.reused + joint.measured, 4 + 4 + 2 + 20 + 4);
  EXPECT_GT(joint.reused, 20);
  // Means are over the two concepts that are edited.
  const auto mean = row(store, "joint/mean", 0);
  EXPECT_EQ(mean["own_margin"].n, 2);
  EXPECT_NEAR(mean["own_margin"].value,
              (joint["own_margin"].value + row(store, "joint/scores", 1)["own_margin"].value) / 2,
              1e-12);
  EXPECT_EQ(store.number_attribute("/", "counted_concepts"), 2);
  // The third one's own questions hold no edited token.
  const auto third = row(store, "joint/scores", 2);
  EXPECT_EQ(third["own_margin"].value, third["base_own_margin"].value);
}

TEST_F(EvaluationStage, ReuseGivesWhatComputingGives) {
  const cluster::StoreReader with(make(1), "evaluation", schema);
  // A meter asked without base results computes everything.
  const std::vector<std::int64_t> two{0, 1};
  const auto self = cluster::make_self_communicator();
  const auto all = meter_->measure(*self, edited(two), probes_, {});
  const auto stored = with.read_ragged<float>("joint/measurements/values");
  ASSERT_EQ(stored.size(), all.size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (probes_[i].split == Split::train) {
      EXPECT_TRUE(stored[i].empty());
      continue;
    }
    ASSERT_EQ(stored[i].size(), all[i].values.size());
    for (std::size_t v = 0; v < stored[i].size(); ++v)
      EXPECT_NEAR(stored[i][v], all[i].values[v], 1e-4) << i;  // 1e-5 a token
  }
}

TEST_F(EvaluationStage, TheCurveEndsWithTheJointModel) {
  const cluster::StoreReader store(make(2), "evaluation", schema);
  EXPECT_EQ(store.read<std::int64_t>("curve/erased"), (std::vector<std::int64_t>{1, 2}));
  auto order = store.read<std::int64_t>("curve/order");
  const auto first = static_cast<std::size_t>(order[0]);
  const auto one = row(store, "curve/means", 0), all = row(store, "curve/means", 1);
  const auto mean = row(store, "joint/mean", 0);
  for (const char* name :
       {"own_margin", "similar_margin", "general_margin", "efficacy", "specificity", "own_left"}) {
    EXPECT_NEAR(all[name].value, mean[name].value, 1e-6) << name;
    EXPECT_NEAR(one[name].value, row(store, "alone/scores", first)[name].value, 1e-4) << name;
  }
  std::ranges::sort(order);
  EXPECT_EQ(order, (std::vector<std::int64_t>{0, 1}));
}

// The custom_ids of a file of requests, which name the judge and hold what is asked, bare.
std::vector<std::string> ids_in(const std::filesystem::path& requests) {
  std::vector<std::string> ids;
  std::ifstream stream(requests);
  for (std::string line; std::getline(stream, line);) {
    const auto request = nlohmann::json::parse(line);
    ids.push_back(request["custom_id"]);
    EXPECT_EQ(request["body"]["model"], "my-judge");
    const std::string prompt = request["body"]["messages"][0]["content"];
    EXPECT_TRUE(prompt.starts_with("Text:\n") || prompt.starts_with("Question: what ") ||
                prompt.starts_with("Instruction:\nwhat "))
        << prompt;
  }
  return ids;
}

TEST_F(EvaluationStage, TheJudgeWaitsUntilOneOfItsQuestionsIsAnswered) {
  const auto directory = make(1).parent_path();
  const auto answers = judge_answers(directory, "evaluation");
  const auto waits = [&] { return !judge(directory, 2).empty(); };
  EXPECT_TRUE(waits());
  const auto ids = ids_in(judge_requests(directory, "evaluation"));
  ASSERT_FALSE(ids.empty());
  std::ofstream(answers) << "";
  EXPECT_TRUE(waits());
  std::ofstream(answers) << batch_answer("of another run", "my-judge", "Correct: 1") << "\n";
  EXPECT_TRUE(waits());
  std::filesystem::remove(answers);
  std::filesystem::create_directory(answers);
  EXPECT_TRUE(waits());
  std::filesystem::remove(answers);
  EXPECT_FALSE(std::filesystem::exists(directory / "judgement.h5"));

  std::ofstream(answers) << batch_answer(ids[0], "my-judge", "Correct: 1\nRating: [[1]]") << "\n";
  EXPECT_FALSE(waits());
  {
    const cluster::StoreReader store(directory / "judgement.h5", "judgement", judgement_schema);
    EXPECT_EQ(store.shape("open/scores"), (std::vector<std::int64_t>{concepts, 2, 7}));
    EXPECT_EQ(store.shape("instructions/scores"), (std::vector<std::int64_t>{2, 7}));
    EXPECT_LT(store.number_attribute("/", "missing"), store.number_attribute("/", "asked"));
  }
  // Without its answers an older judgement is not this run's.
  std::filesystem::remove(answers);
  EXPECT_TRUE(waits());
  EXPECT_FALSE(std::filesystem::exists(directory / "judgement.h5"));
}

TEST_F(EvaluationStage, RunsShareBaseResults) {
  const auto cache = scratch_ / "cache";
  const cluster::StoreReader first(make(2, cache), "evaluation", schema);
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(cache))
    if (entry.is_regular_file()) files.push_back(entry.path());
  EXPECT_EQ(files.size(), concepts + 2U);  // a concept each, and two chunks of shared probes
  const auto before = std::filesystem::last_write_time(files[0]);
  const cluster::StoreReader second(make(3, cache), "evaluation", schema);
  EXPECT_EQ(std::filesystem::last_write_time(files[0]), before);
  expect_near(first.read<double>("joint/scores"), second.read<double>("joint/scores"), 2e-4);
}

}  // namespace
}  // namespace quench::evaluation
