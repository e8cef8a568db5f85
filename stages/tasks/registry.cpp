#include <algorithm>
#include <numeric>

#include "cluster/error.hpp"
#include "stages/tasks/task.hpp"

namespace quench::tasks {

#define QUENCH_DECLARE(name) const Task& name##_task();
QUENCH_TASKS(QUENCH_DECLARE)

const std::vector<const Task*>& all_tasks() {
#define QUENCH_LIST(name) &name##_task(),
  static const std::vector<const Task*> tasks{QUENCH_TASKS(QUENCH_LIST)};
  return tasks;
}

const Task& task_of(ProbeKind kind) {
  const auto found = std::ranges::find(all_tasks(), kind, [](const Task* t) { return t->kind(); });
  if (found == all_tasks().end())
    throw InternalError("probe of kind " + std::to_string(static_cast<int>(kind)) +
                        ": no task is registered for it");
  return **found;
}

Measurement Task::of_scores(const Probe&, std::span<const model::ContinuationScore>) const {
  throw InternalError("task " + name() + ": its probes are not scored");
}

// NOLINTNEXTLINE(performance-unnecessary-value-param): tasks that override it keep the answer
Measurement Task::of_answer(const Probe&, Tokens, const model::ContinuationScore&,
                            const Asking&) const {
  throw InternalError("task " + name() + ": its probes are not answered");
}

bool Making::train(const std::string& form) const {
  return std::ranges::find(train_forms, form) != train_forms.end();
}

Probe make_probe(ProbeKind kind, Subset subset, Split split) {
  Probe probe;
  probe.kind = kind;
  probe.subset = subset;
  probe.split = split;
  return probe;
}

std::string open_text(const std::string& question) { return "Question: " + question + "\nAnswer:"; }

std::vector<const corpus::Question*> examples_for(const corpus::Question& question,
                                                  const corpus::SharedText& shared,
                                                  std::int64_t shots) {
  std::vector<const corpus::Question*> examples;
  const bool has_own = std::ranges::any_of(
      shared.examples, [&](const auto& example) { return example.subject == question.subject; });
  for (const auto& example : shared.examples) {
    if (std::ssize(examples) == shots) break;
    if (!has_own || example.subject == question.subject) examples.push_back(&example);
  }
  return examples;
}

std::string missing_examples(const corpus::SharedText& shared, std::int64_t shots) {
  std::int64_t fewer = 0, none = 0;
  for (const auto& question : shared.general) {
    const auto count = std::ssize(examples_for(question, shared, shots));
    fewer += count < shots ? 1 : 0;
    none += count < shots && count == 0 ? 1 : 0;
  }
  if (fewer == 0) return "";
  return "corpus.shots = " + std::to_string(shots) + ": " + std::to_string(fewer) + " of " +
         std::to_string(shared.general.size()) +
         " general questions have fewer examples before them, " + std::to_string(none) +
         " of these none: general.jsonl has too few questions of split dev (" +
         std::to_string(shared.examples.size()) + " in all), or of their subject";
}

double share_right(const Probe& probe, const Measurement& measurement) {
  const auto& values = measurement.values;
  const auto best = std::ranges::max(values);
  if (values[probe.correct] != best) return 0;
  return 1.0 / static_cast<double>(std::ranges::count(values, best));
}

double margin(const Probe& probe, const Measurement& measurement) {
  const auto& values = measurement.values;
  const double right = values[probe.correct];
  const double all = std::accumulate(values.begin(), values.end(), 0.0);
  return right - (all - right) / static_cast<double>(values.size() - 1);
}

}  // namespace quench::tasks
