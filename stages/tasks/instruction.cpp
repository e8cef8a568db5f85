// Instructions, answered freely: how fluent the base model finds the answer, and how much it
// repeats itself. An answer that has become empty is lost to both. A judge rates how related and
// how fluent it is, 0 to 2 each.
#include <cmath>
#include <limits>

#include "stages/tasks/repetition.hpp"
#include "stages/tasks/task.hpp"

namespace quench::tasks {

namespace {

class FollowsInstructions : public Task {
 public:
  ProbeKind kind() const override { return ProbeKind::instruction; }
  std::string name() const override { return "instruction"; }

  void of_shared(const corpus::SharedText& shared, const Making& making,
                 std::vector<Probe>& probes) const override {
    for (const auto& one : shared.instructions) {
      Probe probe = make_probe(ProbeKind::instruction, Subset::general, one.split);
      probe.context = making.prompts.prompt(making.prompts.is_chat() ? one.text : one.text + "\n");
      probe.asked = one.text;
      probes.push_back(std::move(probe));
    }
  }

  std::optional<Generation> generation(const Probe&, const Asking& asking) const override {
    return Generation{asking.instruction_tokens, false};
  }
  bool is_rated() const override { return true; }

  Measurement of_answer(const Probe&, Tokens answer, const model::ContinuationScore& rating,
                        const Asking&) const override {
    const auto value = [](double x) { return static_cast<float>(x); };
    std::vector<float> values{0, 0, 1, 0, 0};
    if (!answer.empty()) {
      values = {value(-rating.logprob), value(static_cast<double>(rating.tokens)),
                value(repetition(answer)), value(distinct(answer, 1)), value(distinct(answer, 2))};
    }
    return {std::move(values), std::move(answer), false};
  }

  std::vector<JudgeQuestion> judged() const override {
    return {JudgeQuestion::related, JudgeQuestion::fluent};
  }
  void take_verdict(JudgeQuestion question, float verdict,
                    Measurement& measurement) const override {
    auto& v = measurement.values;
    if (v.empty()) return;
    v.resize(rated, std::numeric_limits<float>::quiet_NaN());
    v[question == JudgeQuestion::related ? measured : measured + 1] = verdict;
  }

  std::vector<Subset> subsets() const override { return {Subset::general}; }
  std::vector<Number> numbers() const override {
    return {{"answer_perplexity", true},
            {"repetition"},
            {"answered"},
            {"distinct_1"},
            {"distinct_2"},
            {"relatedness"},
            {"fluency"}};
  }
  void read(const Probe&, const Measurement& measurement, const Reading&,
            std::span<Ratio> numbers) const override {
    const auto& v = measurement.values;
    if (v.size() < 3) return;
    numbers[0] = {v[0], v[1]};
    numbers[1] = {v[2], 1};
    numbers[2] = {v[1] > 0 ? 1.0 : 0.0, 1};
    for (std::size_t i = measured; i < v.size(); ++i)
      if (!std::isnan(v[i])) numbers[i] = {v[i], 1};
    if (v[1] == 0) return;
    for (std::size_t i = 3; i < v.size() && i < measured; ++i) numbers[i] = {v[i], 1};
  }

 private:
  // Values without a judge, and with its ratings behind them.
  static constexpr std::size_t measured = 5, rated = 7;
};

}  // namespace

const Task& instruction_task() {
  static const FollowsInstructions task;
  return task;
}

}  // namespace quench::tasks
