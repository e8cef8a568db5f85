// Open questions: a greedy answer counts when it holds an accepted one.
#include <cmath>

#include "stages/tasks/match.hpp"
#include "stages/tasks/task.hpp"

namespace quench::tasks {

namespace {

class Open : public Task {
 public:
  ProbeKind kind() const override { return ProbeKind::open; }
  std::string name() const override { return "open"; }

  void of_concept(const corpus::Concept& record, const Making& making,
                  std::vector<Probe>& probes) const override {
    if (!making.open) return;
    const auto add = [&](const std::vector<corpus::Question>& questions, Subset subset) {
      for (const auto& question : questions) {
        if (question.split == Split::train && !making.train("open")) continue;
        Probe probe = make_probe(ProbeKind::open, subset, question.split);
        probe.context = making.prompts.prompt(open_text(question.question));
        probe.accepted = question.accepted;
        probe.asked = question.question;
        probes.push_back(std::move(probe));
      }
    };
    add(record.own, Subset::own);
    add(record.similar, Subset::similar);
  }

  std::optional<Generation> generation(const Probe&, const Asking& asking) const override {
    return Generation{asking.open_tokens, asking.open_line};
  }

  Measurement of_answer(const Probe& probe, Tokens answer, const model::ContinuationScore&,
                        const Asking& asking) const override {
    auto text = asking.tokenizer->decode(answer);
    if (asking.open_line) text = text.substr(0, text.find('\n'));
    const bool right = answer_matches(text, probe.accepted);
    return {{right ? 1.0f : 0.0f, static_cast<float>(rouge_l(text, probe.accepted))},
            std::move(answer),
            false};
  }

  std::vector<JudgeQuestion> judged() const override { return {JudgeQuestion::correct}; }
  void take_verdict(JudgeQuestion, float verdict, Measurement& measurement) const override {
    if (!measurement.values.empty()) measurement.values[0] = verdict;
  }

  std::vector<Subset> subsets() const override { return {Subset::own, Subset::similar}; }
  std::vector<Number> numbers() const override { return {{"open_accuracy"}, {"rouge_l"}}; }
  void read(const Probe&, const Measurement& measurement, const Reading&,
            std::span<Ratio> numbers) const override {
    const auto& v = measurement.values;
    for (std::size_t i = 0; i < v.size() && i < 2; ++i)
      if (!std::isnan(v[i])) numbers[i] = {v[i], 1};
  }
};

}  // namespace

const Task& open_task() {
  static const Open task;
  return task;
}

}  // namespace quench::tasks
