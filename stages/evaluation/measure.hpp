#pragma once

#include <functional>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "cluster/communicator.hpp"
#include "cluster/timers.hpp"
#include "model/score.hpp"
#include "model/tokenizer.hpp"
#include "model/transformer.hpp"
#include "stages/tasks/task.hpp"
#include "stages/types.hpp"

namespace quench::evaluation {

// How probes are put to a model.
struct MeasureOptions {
  std::int64_t batch_tokens = 512;
  tasks::Asking asking;  // its tokenizer is set by the meter
};

// Puts probes to models, by the rules of exact reuse: a probe none of whose input tokens is edited
// gets the base model's measurement.
class Meter {
 public:
  Meter(const model::Transformer& base, const model::Tokenizer& tokenizer,
        const MeasureOptions& options, cluster::Timers* timers = nullptr);

  // result[i] of probes[i]; base_results[i] (may be empty: nothing is reused) is what the base
  // model said. Probes are sharded over the ranks of `group` and gathered. Collective over the
  // group.
  std::vector<Measurement> measure(cluster::Communicator& group, const model::Transformer& model,
                                   std::span<const Probe> probes,
                                   std::span<const Measurement> base_results) const;
  const MeasureOptions& options() const { return options_; }

 private:
  std::vector<Measurement> measure_locally(const model::Transformer& model,
                                           std::span<const Probe* const> probes) const;
  // Whether the edited model may answer otherwise than the base model did.
  bool is_touched(const model::Transformer& model, const Probe& probe,
                  const Measurement& base) const;
  std::vector<std::vector<model::ContinuationScore>> score(const model::Transformer& model,
                                                           std::span<const model::ScoreItem> items,
                                                           bool first_choices) const;
  void score_probes(const model::Transformer& model, std::span<const Probe* const> probes,
                    std::span<const std::size_t> chosen, std::vector<Measurement>& results) const;
  // Greedy answers of the chosen probes, which end at the end of a line or not.
  void answer_probes(const model::Transformer& model, std::span<const Probe* const> probes,
                     std::span<const std::size_t> chosen, bool one_line,
                     std::vector<Measurement>& results) const;
  void end_with_line(tasks::Tokens& answer) const;
  // The base model's score of each answer; nothing of empty ones and of tasks that want none.
  std::vector<model::ContinuationScore> rate(std::span<const Probe* const> probes,
                                             std::span<const std::size_t> chosen,
                                             std::span<const tasks::Tokens> answers) const;

  const model::Transformer& base_;
  MeasureOptions options_;
  cluster::Timers* timers_;
  // Of an answer of one line: what holds a line break. Looked for when it is first asked for, in
  // the whole vocabulary.
  const std::vector<std::int32_t>& line_stops() const;
  mutable std::once_flag line_stops_made_;
  mutable std::vector<std::int32_t> line_stops_;
};

}  // namespace quench::evaluation
