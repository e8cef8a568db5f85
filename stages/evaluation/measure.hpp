#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "cluster/communicator.hpp"
#include "cluster/timers.hpp"
#include "model/score.hpp"
#include "model/tokenizer.hpp"
#include "model/transformer.hpp"
#include "stages/types.hpp"

namespace quench::evaluation {

// How probes are put to a model.
struct MeasureOptions {
  std::int64_t batch_tokens = 2048;
  std::int64_t open_tokens = 24;         // longest answer to an open question
  std::int64_t instruction_tokens = 64;  // longest answer to an instruction
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

 private:
  std::vector<Measurement> measure_locally(const model::Transformer& model,
                                           std::span<const Probe* const> probes) const;
  std::vector<std::vector<model::ContinuationScore>> score(
      const model::Transformer& model, std::span<const model::ScoreItem> items) const;
  std::vector<std::vector<std::int32_t>> answers(const model::Transformer& model,
                                                 std::span<const Probe* const> probes,
                                                 std::span<const std::size_t> chosen,
                                                 std::int64_t max_new_tokens,
                                                 const std::vector<std::int32_t>& stops) const;
  void answer_open(const model::Transformer& model, std::span<const Probe* const> probes,
                   std::span<const std::size_t> chosen, std::vector<Measurement>& results) const;
  void answer_instructions(const model::Transformer& model, std::span<const Probe* const> probes,
                           std::span<const std::size_t> chosen,
                           std::vector<Measurement>& results) const;

  const model::Transformer& base_;
  const model::Tokenizer& tokenizer_;
  MeasureOptions options_;
  cluster::Timers* timers_;
  std::vector<std::int32_t> open_stops_;  // an answer to an open question is one line
};

// True when an answer counts: an accepted form occurs in it as whole words, after folding case,
// punctuation, accents and digit grouping ("1,500" is "1500"). Articles do not count, but for an
// "a" at the end of an accepted form, which tells "Vitamin A" from "Vitamin C".
bool answer_matches(std::string_view answer, std::span<const std::string> accepted);

// Share of token 3-grams that occurred before in the text, in [0, 1]; 0 for texts of three tokens
// or fewer.
double repetition(std::span<const std::int32_t> ids);

}  // namespace quench::evaluation
