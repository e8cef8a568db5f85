#include "stages/evaluation/measure.hpp"

#include <atomic>
#include <cmath>
#include <limits>
#include <memory>
#include <mutex>

#include "cluster/error.hpp"
#include "model/score.hpp"
#include "stages/evaluation/baseline_cache.hpp"
#include "stages/evaluation/codec.hpp"
#include "stages/tasks/repetition.hpp"
#include "tests/support/scratch_directory.hpp"
#include "tests/unit/tiny_model.hpp"
#include "tests/unit/tokenizer_fixture.hpp"

namespace quench::evaluation {
namespace {

constexpr double tolerance = 1e-5;  // of batch shapes, a token
using Ids = std::vector<std::int32_t>;

Ids ids_of(const std::string& text) { return {text.begin(), text.end()}; }  // a byte a token

// A random model that says letters only, over the byte-level tokenizer.
class MeterTest : public model::TokenizerFixture {
 protected:
  void SetUp() override {
    TokenizerFixture::SetUp();
    tokenizer_ = std::make_unique<model::Tokenizer>(load(byte_level()));
    config_ = model::testing::tiny_config(model::Architecture::llama);
    config_.vocab = tokenizer_->vocab_size();
    config_.stop_ids = {262};
    weights_ = model::testing::random_weights(config_);
    const auto letters = at::zeros({config_.vocab, 1});
    letters.narrow(0, 'A', 26).fill_(1);
    letters.narrow(0, 'a', 26).fill_(1);
    weights_.lm_head = weights_.lm_head * letters;
    base_ = std::make_unique<model::Transformer>(config_, weights_);
    meter_ = std::make_unique<Meter>(*base_, *tokenizer_, options_);
    probes_ = make_probes();
    said_ = measure(*base_);
    probes_[open].accepted = {"no", tokenizer_->decode(said_[open].answer)};
    said_ = measure(*base_);
  }

  enum Which : std::size_t { choice, letter, text, open, instruction, other };

  static std::vector<Probe> make_probes() {
    std::vector<Probe> probes(6);
    const auto set = [&](Which which, ProbeKind kind, const std::string& context,
                         const std::vector<std::string>& continuations) {
      probes[which].kind = kind;
      probes[which].context = ids_of(context);
      for (const auto& c : continuations) probes[which].continuations.push_back(ids_of(c));
    };
    set(choice, ProbeKind::choice, "What? ", {"golf", "a hut", "x", "#0"});
    set(letter, ProbeKind::letter, "Which?", {"A", "B", "C", "D"});
    set(text, ProbeKind::text, "~", {"his is text."});
    set(open, ProbeKind::open, "Who: ", {});
    set(instruction, ProbeKind::instruction, "Do: ", {});
    set(other, ProbeKind::choice, "1+1=", {"22", "7"});
    return probes;
  }

  // The model with one row far from where it was.
  model::Transformer edited(std::int32_t id) const {
    model::RowDeltas deltas{config_.width, {id}, {}};
    for (std::int64_t x = 0; x < config_.width; ++x) {
      deltas.values.push_back(x % 2 == 0 ? 3.0f : -2.0f);
    }
    return {config_, weights_,
            model::make_overlay(weights_.embedding, config_.stored_type, deltas, 1)};
  }

  std::vector<Measurement> measure(const model::Transformer& model,
                                   std::span<const Measurement> base = {}) const {
    return meter_->measure(*cluster::make_self_communicator(), model, probes_, base);
  }

  static void expect_same(const std::vector<Measurement>& a, const std::vector<Measurement>& b) {
    ASSERT_EQ(a.size(), b.size());
    for (std::size_t i = 0; i < a.size(); ++i) {
      EXPECT_EQ(a[i].answer, b[i].answer) << i;
      ASSERT_EQ(a[i].values.size(), b[i].values.size()) << i;
      for (std::size_t v = 0; v < a[i].values.size(); ++v) {
        EXPECT_NEAR(a[i].values[v], b[i].values[v], tolerance * 12) << i << " " << v;
      }
    }
  }

  // With the edit of `id`, exactly these probes are computed anew, and reuse gives what computing
  // all of them gives.
  void expect_computed(std::int32_t id, const std::vector<std::size_t>& computed) const {
    const auto model = edited(id);
    const auto now = measure(model, said_), all = measure(model);
    expect_same(now, all);
    for (std::size_t i = 0; i < now.size(); ++i) {
      EXPECT_EQ(now[i].reused, std::ranges::find(computed, i) == computed.end()) << i;
      EXPECT_FALSE(all[i].reused);
    }
  }

  // An id that neither a probe nor an answer holds.
  std::int32_t unused() const {
    const auto used = [&](std::int32_t id) {
      const auto holds = [id](const Ids& ids) { return std::ranges::count(ids, id) > 0; };
      return std::ranges::any_of(said_, [&](const auto& m) { return holds(m.answer); }) ||
             std::ranges::any_of(probes_, [&](const auto& p) {
               return holds(p.context) || std::ranges::any_of(p.continuations, holds);
             });
    };
    std::int32_t id = 'A';
    while (used(id)) ++id;
    return id;
  }

  static MeasureOptions small_options() {
    MeasureOptions options;
    options.batch_tokens = 64;
    options.asking.open_tokens = 5;
    options.asking.instruction_tokens = 9;
    return options;
  }

  MeasureOptions options_ = small_options();
  std::unique_ptr<model::Tokenizer> tokenizer_;
  model::ModelConfig config_;
  model::Weights weights_;
  std::unique_ptr<model::Transformer> base_;
  std::unique_ptr<Meter> meter_;
  std::vector<Probe> probes_;
  std::vector<Measurement> said_;  // by the base model
};

TEST_F(MeterTest, ValuesByKind) {
  const auto score = [&](const Ids& context, const std::vector<Ids>& continuations) {
    return model::score(*base_, std::vector<model::ScoreItem>{{context, continuations}})[0];
  };
  for (const auto which : {choice, letter, text}) {
    const auto scores = score(probes_[which].context, probes_[which].continuations);
    const auto& values = said_[which].values;
    if (which == text) {
      ASSERT_EQ(values.size(), 4U);
      EXPECT_NEAR(values[0], -scores[0].logprob, 12 * tolerance);
      EXPECT_EQ(values[1], 12);
      EXPECT_LE(values[3], values[2]);
      continue;
    }
    ASSERT_EQ(values.size(), 4U);
    for (std::size_t k = 0; k < 4; ++k) {
      const double expected = scores[k].logprob / (which == choice ? scores[k].tokens : 1);
      EXPECT_NEAR(values[k], expected, tolerance);
    }
  }
  EXPECT_EQ(said_[open].answer.size(), 5U);
  EXPECT_EQ(said_[open].values, (std::vector<float>{1, 1}));
  const auto& m = said_[instruction];
  ASSERT_EQ(m.answer.size(), 9U);
  const auto fluency = score(probes_[instruction].context, {m.answer});
  EXPECT_NEAR(m.values[0], -fluency[0].logprob, 9 * tolerance);
  EXPECT_EQ(m.values[1], 9);
  EXPECT_FLOAT_EQ(m.values[2], static_cast<float>(tasks::repetition(m.answer)));
  EXPECT_FLOAT_EQ(m.values[3], static_cast<float>(tasks::distinct(m.answer, 1)));
  EXPECT_FLOAT_EQ(m.values[4], static_cast<float>(tasks::distinct(m.answer, 2)));
}

TEST_F(MeterTest, AWrongAnswerIsWrong) {
  probes_[open].accepted = {"something else"};
  EXPECT_EQ(measure(*base_)[open].values, (std::vector<float>{0, 0}));
}

TEST_F(MeterTest, TheBaseModelJudgesFluency) {
  const auto model = edited('D');  // read by the instruction's prompt
  const auto now = measure(model)[instruction];
  ASSERT_NE(now.answer, said_[instruction].answer);
  const std::vector<model::ScoreItem> item{{probes_[instruction].context, {now.answer}}};
  EXPECT_NEAR(now.values[0], -model::score(*base_, item)[0][0].logprob, 9 * tolerance);
}

TEST_F(MeterTest, ReuseIsExact) { expect_computed(unused(), {}); }

TEST_F(MeterTest, AContextIsRead) {
  expect_computed('=', {other});
  expect_computed('?', {choice, letter});
  expect_computed(':', {open, instruction});
  expect_computed('~', {text});
  const auto now = measure(edited('='), said_);
  EXPECT_GT(std::abs(now[other].values[0] - said_[other].values[0]), 1e-3);
}

TEST_F(MeterTest, AnOptionIsReadButForItsLastToken) {
  expect_computed('#', {choice});
  expect_computed('0', {});       // the last of "#0"
  expect_computed('7', {});       // a whole option
  expect_computed('2', {other});  // "22": predicted from itself
  expect_computed('.', {});       // the last of a text
}

TEST_F(MeterTest, AnAnswerIsRead) {
  for (const auto which : {open, instruction}) {
    const auto now = measure(edited(said_[which].answer.front()), said_);
    EXPECT_FALSE(now[which].reused);
    expect_same(now, measure(edited(said_[which].answer.front())));
  }
}

TEST_F(MeterTest, EveryRankGetsAllOfIt) {
  const auto model = edited('?');
  const auto alone = measure(model, said_);
  for (int ranks = 1; ranks <= 3; ++ranks) {
    std::mutex mutex;
    std::vector<std::vector<Measurement>> seen;
    cluster::run_on_threads(ranks, [&](cluster::Communicator& group) {
      auto part = meter_->measure(group, model, probes_, said_);
      auto all = meter_->measure(group, *base_, probes_, {});
      const std::lock_guard lock(mutex);
      seen.push_back(std::move(part));
      seen.push_back(std::move(all));
    });
    for (std::size_t i = 0; i < seen.size(); i += 2) {
      expect_same(seen[i], alone);
      for (std::size_t p = 0; p < alone.size(); ++p) {
        EXPECT_EQ(seen[i][p].reused, alone[p].reused);
      }
      expect_same(seen[i + 1], said_);
    }
  }
}

TEST_F(MeterTest, RanksFailTogether) {
  probes_[letter].context.clear();  // one rank's share
  for (int ranks = 1; ranks <= 3; ++ranks) {
    std::atomic<int> failed = 0;
    cluster::run_on_threads(ranks, [&](cluster::Communicator& group) {
      try {
        meter_->measure(group, *base_, probes_, {});
      } catch (const Error& error) {
        failed += error.agreed() ? 1 : 0;
      }
      group.barrier();
    });
    EXPECT_EQ(failed, ranks);
  }
}

TEST_F(MeterTest, AnEmptyAnswerIsLost) {
  config_.stop_ids.clear();
  for (std::int32_t id = 0; id < config_.vocab; ++id) config_.stop_ids.push_back(id);
  const model::Transformer silent(config_, weights_);
  const auto said = measure(silent)[instruction];
  EXPECT_TRUE(said.answer.empty());
  EXPECT_EQ(said.values, (std::vector<float>{0, 0, 1, 0, 0}));
}

TEST_F(MeterTest, LettersByGeneration) {
  auto options = options_;
  options.asking.letter_generated = true;
  const Meter meter(*base_, *tokenizer_, options);
  const auto self = cluster::make_self_communicator();
  const auto said = meter.measure(*self, *base_, probes_, {});
  ASSERT_EQ(said[letter].answer.size(), 4U);  // methods 7.1
  ASSERT_EQ(said[letter].values.size(), 1U);
  // It is reused unless the prompt or the answer is edited.
  const auto untouched = meter.measure(*self, edited('#'), probes_, said);
  EXPECT_TRUE(untouched[letter].reused);
  const auto touched = meter.measure(*self, edited(said[letter].answer.front()), probes_, said);
  EXPECT_FALSE(touched[letter].reused);
}

TEST_F(MeterTest, BaseResultsAreKeptByModelProbesAndHowTheyArePut) {
  const quench::testing::ScratchDirectory scratch;
  const BaselineCache cache(scratch / "cache", "model", options_);
  EXPECT_FALSE(cache.find(probes_));
  cache.keep(probes_, said_);
  const auto found = cache.find(probes_);
  ASSERT_TRUE(found);
  expect_same(*found, said_);
  EXPECT_FALSE(BaselineCache(scratch / "cache", "another", options_).find(probes_));
  auto longer = options_;
  ++longer.asking.open_tokens;
  EXPECT_FALSE(BaselineCache(scratch / "cache", "model", longer).find(probes_));
  auto changed = probes_;
  changed[open].accepted.emplace_back("more");
  EXPECT_FALSE(cache.find(changed));
  // Nothing but the one file is left, and one that is damaged does not count.
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(scratch / "cache" / "model"))
    files.push_back(entry.path());
  ASSERT_EQ(files.size(), 1U);
  std::filesystem::resize_file(files[0], std::filesystem::file_size(files[0]) - 1);
  EXPECT_FALSE(cache.find(probes_));
  EXPECT_FALSE(BaselineCache("", "model", options_).find(probes_));
}

TEST(Codec, RoundTrip) {
  const auto infinity = std::numeric_limits<float>::infinity();
  const std::vector<Measurement> list = {
      {{-1.1f, 0.1f, 1e-30f}, {3, 0, 262143}, true}, {}, {{std::nanf(""), -infinity}, {}, false}};
  const auto back = unpack(pack(list));
  ASSERT_EQ(back.size(), 3U);
  EXPECT_EQ(back[0].values, list[0].values);
  EXPECT_EQ(back[0].answer, list[0].answer);
  EXPECT_TRUE(back[0].reused);
  EXPECT_TRUE(back[1].values.empty() && back[1].answer.empty());
  EXPECT_FALSE(back[1].reused);
  EXPECT_TRUE(std::isnan(back[2].values[0]));
  EXPECT_EQ(back[2].values[1], -infinity);
  EXPECT_TRUE(unpack(pack({})).empty());
}

}  // namespace
}  // namespace quench::evaluation
