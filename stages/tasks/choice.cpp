// Choice by likelihood: a question, and how likely each option is as its answer. Of general
// questions this is general knowledge, with examples before the question where `shots` asks for
// them.
#include <algorithm>

#include "stages/tasks/task.hpp"

namespace quench::tasks {

namespace {

class Choice : public Task {
 public:
  ProbeKind kind() const override { return ProbeKind::choice; }
  std::string name() const override { return "choice"; }

  void of_concept(const corpus::Concept& record, const Making& making,
                  std::vector<Probe>& probes) const override {
    for (const auto& q : record.own) probes.push_back(probe_of(q, Subset::own, "", making));
    for (const auto& q : record.similar) probes.push_back(probe_of(q, Subset::similar, "", making));
  }

  void of_shared(const corpus::SharedText& shared, const Making& making,
                 std::vector<Probe>& probes) const override {
    for (const auto& question : shared.general) {
      std::string head;
      for (const auto* example : examples_for(question, shared, making.shots))
        head += open_text(example->question) + " " + example->answer + "\n\n";
      probes.push_back(probe_of(question, Subset::general, head, making));
    }
  }

  Measurement of_scores(const Probe&,
                        std::span<const model::ContinuationScore> scores) const override {
    Measurement measurement;
    for (const auto& score : scores) measurement.values.push_back(static_cast<float>(score.mean()));
    return measurement;
  }

  std::vector<Subset> subsets() const override {
    return {Subset::own, Subset::similar, Subset::general};
  }
  std::vector<Number> numbers() const override { return {{"accuracy"}, {"margin"}}; }
  void read(const Probe& probe, const Measurement& measurement, const Reading&,
            std::span<Ratio> numbers) const override {
    if (measurement.values.empty()) return;
    numbers[0] = {share_right(probe, measurement), 1};
    numbers[1] = {margin(probe, measurement), 1};
  }

 private:
  static Probe probe_of(const corpus::Question& question, Subset subset, const std::string& head,
                        const Making& making) {
    Probe probe = make_probe(ProbeKind::choice, subset, question.split);
    probe.context = making.prompts.prompt(head + open_text(question.question));
    for (const auto& option : question.options)
      probe.continuations.push_back(making.prompts.continuation(option));
    probe.correct = static_cast<std::int32_t>(question.correct());
    return probe;
  }
};

}  // namespace

const Task& choice_task() {
  static const Choice task;
  return task;
}

}  // namespace quench::tasks
