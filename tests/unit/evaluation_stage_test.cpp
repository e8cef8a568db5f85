#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <numeric>

#include "cluster/hash.hpp"
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
          {source_, meter_.get(), base_.get(), "model", "inputs", "run", cache}, context);
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

  // What the judge says of a prompt: 0 or 1, and 0 to 2.
  static int digit_of(const std::string& prompt, int bound) {
    return std::stoi(cluster::sha256(prompt).substr(0, 6), nullptr, 16) % bound;
  }
  static std::string answer_to(const std::string& prompt) {
    return "Correct: " + std::to_string(digit_of(prompt, 2)) + "\nRating: [[" +
           std::to_string(digit_of(prompt, 3)) + "]]";
  }

  // Has the evaluation in `directory` judged by so many ranks; `lost`: this question of rank 0's
  // list has no answer.
  void judge(const std::filesystem::path& directory, int ranks, std::size_t lost) {
    cluster::run_on_threads(ranks, [&](cluster::Communicator& comm) {
      cluster::Session session(comm.split(0, comm.rank()), {1, 1});
      cluster::StopFlag stop;
      cluster::Timers timers;
      cluster::Context context{session, stop, timers, directory, true};
      const Measurements baseline(directory / "baseline.h5", "baseline", "measurements");
      JudgeInputs in;
      in.probes = source_;
      in.tokenizer = tokenizer_.get();
      in.baseline = &baseline;
      in.edited = {true, true, false};
      in.judge = "my-judge";
      in.inputs_hash = "evaluation";
      in.run_id = "run";
      in.ask = [&](const std::string& round, const auto& asked, std::int64_t) {
        EXPECT_EQ(round, "evaluation-evaluati");
        EXPECT_EQ(asked.empty(), comm.rank() > 0);
        EXPECT_FALSE(std::filesystem::exists(directory / "judgement.h5"));
        BatchContents contents;
        for (std::size_t i = 0; i < asked.size(); ++i) {
          const bool is_new = contents.emplace(asked[i].id, answer_to(asked[i].prompt)).second;
          EXPECT_TRUE(is_new) << "asked twice: " << asked[i].prompt;
        }
        if (lost < asked.size()) contents.erase(asked[lost].id);
        return contents;
      };
      run_judge(in, options_, context);
    });
  }

  // The verdict that the judge gives on what one model said to a probe.
  double expected(JudgeQuestion question, const Probe& probe, const Measurement& said) const {
    const auto text = tokenizer_->decode(said.answer);
    const bool empty = text.find_first_not_of(" \t\r\n") == std::string::npos;
    if (empty && question != JudgeQuestion::fluent) return 0;
    return digit_of(judge_prompt(question, probe.asked, "", text),
                    question == JudgeQuestion::correct ? 2 : 3);
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
  // The same concepts, each erased alone.
  const auto first_alone = row(store, "curve/alone", 0), both_alone = row(store, "curve/alone", 1);
  const auto mean_alone = row(store, "alone/mean", 0);
  for (const char* name : {"similar_margin", "efficacy", "specificity", "own_left"}) {
    EXPECT_NEAR(first_alone[name].value, row(store, "alone/scores", first)[name].value, 1e-6)
        << name;
    EXPECT_NEAR(both_alone[name].value, mean_alone[name].value, 1e-6) << name;
  }
  std::ranges::sort(order);
  EXPECT_EQ(order, (std::vector<std::int64_t>{0, 1}));
}

constexpr std::size_t none_lost = 1000000;

TEST_F(EvaluationStage, FiguresByTheJudge) {
  const auto directory = make(1).parent_path();
  judge(directory, 2, none_lost);
  const cluster::StoreReader store(directory / "judgement.h5", "judgement", judgement_schema);
  EXPECT_EQ(store.number_attribute("/", "missing"), 0);
  const Measurements base(directory / "baseline.h5", "baseline", "measurements");
  const Measurements joint(directory / "evaluation.h5", "evaluation", "joint/measurements");
  const auto all_base = base.read({0, std::ssize(probes_)});
  const auto all_joint = joint.read({0, std::ssize(probes_)});
  std::vector<double> related{0, 0}, fluent{0, 0};  // base, joint
  for (std::int64_t c = 0; c <= concepts; ++c) {
    for (auto i = source_.offsets[c]; i < source_.offsets[c + 1]; ++i) {
      const auto& probe = probes_[i];
      if (probe.kind == ProbeKind::open) {
        const auto scores = row(store, "joint/scores", c);
        EXPECT_EQ(scores["own_open_accuracy"].value,
                  expected(JudgeQuestion::correct, probe, all_joint[i]));
        EXPECT_EQ(scores["base_own_open_accuracy"].value,
                  expected(JudgeQuestion::correct, probe, all_base[i]));
      }
      if (probe.kind != ProbeKind::instruction) continue;
      related[0] += expected(JudgeQuestion::related, probe, all_base[i]) / 4;
      related[1] += expected(JudgeQuestion::related, probe, all_joint[i]) / 4;
      fluent[0] += expected(JudgeQuestion::fluent, probe, all_base[i]) / 4;
      fluent[1] += expected(JudgeQuestion::fluent, probe, all_joint[i]) / 4;
    }
  }
  const auto mean = row(store, "joint/mean", 0);
  EXPECT_EQ(mean["efficacy"].n, 2);  // concepts that are edited
  const auto scores = row(store, "joint/scores", 0);
  EXPECT_EQ(scores["base_general_relatedness"].value, related[0]);
  EXPECT_EQ(scores["general_relatedness"].value, related[1]);
  EXPECT_EQ(scores["base_general_fluency"].value, fluent[0]);
  EXPECT_EQ(scores["general_fluency"].value, fluent[1]);
  ASSERT_GT(related[0] * fluent[0], 0);
  EXPECT_NEAR(scores["coherence"].value,
              harmonic_mean(std::array{std::min(1.0, fluent[1] / fluent[0]),
                                       std::min(1.0, related[1] / related[0])}),
              1e-12);
  // All else is the evaluation's.
  const cluster::StoreReader evaluation(directory / "evaluation.h5", "evaluation", schema);
  const auto before = row(evaluation, "joint/scores", 0);
  for (const char* name : {"efficacy", "specificity", "own_margin", "general_accuracy"}) {
    EXPECT_EQ(scores[name].value, before[name].value) << name;
    EXPECT_EQ(scores[name].interval.low, before[name].interval.low) << name;
  }
  EXPECT_TRUE(std::isnan(before["general_fluency"].value));
}

TEST_F(EvaluationStage, AVerdictThatIsMissingCountsForNothing) {
  const auto directory = make(1).parent_path();
  judge(directory, 1, none_lost);
  const auto items_of = [&] {
    const cluster::StoreReader store(directory / "judgement.h5", "judgement", judgement_schema);
    return store.read<double>("items/base");
  };
  const auto all = items_of();
  ASSERT_FALSE(std::isnan(all[0]));
  judge(directory, 3, 0);  // what the base model's answer to the first open question is worth
  const auto some = items_of();
  ASSERT_EQ(all.size(), some.size());
  EXPECT_TRUE(std::isnan(some[0]));
  const cluster::StoreReader store(directory / "judgement.h5", "judgement", judgement_schema);
  EXPECT_GE(store.number_attribute("/", "missing"), 1);
  const auto scores = row(store, "joint/scores", 0);
  EXPECT_EQ(scores["own_open_accuracy"].n, 0);
  EXPECT_TRUE(std::isnan(scores["base_own_open_accuracy"].value));
  EXPECT_EQ(store.shape("open/scores"), (std::vector<std::int64_t>{concepts, 2, 7}));
  EXPECT_EQ(store.shape("instructions/scores"), (std::vector<std::int64_t>{2, 7}));
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
