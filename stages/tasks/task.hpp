#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "model/score.hpp"
#include "stages/catalog_types.hpp"
#include "stages/tasks/prompts.hpp"
#include "stages/types.hpp"

// Tasks: what is asked of a model, how, and what the answer means. A new one is a file that defines
// NAME_task() and a line in stages/task_list.hpp.
namespace quench::tasks {

// What the corpus stage lets tasks make probes with.
struct Making {
  const Prompts& prompts;
  bool letter = true, open = true;                 // make questions of these forms at all
  std::vector<std::string> train_forms{"choice"};  // forms that train questions are put in too
  std::string letter_order = "keyed";              // keyed | paper
  std::int64_t shots = 0;                          // examples before a general question
  std::int64_t held_out_paragraphs = 4;

  bool train(const std::string& form) const;
};

// How a model is asked.
struct Asking {
  const model::Tokenizer* tokenizer = nullptr;
  bool letter_generated = false;  // letters by generation (methods 7.1), not by likelihood
  bool cut_response = false;      // the reference's way to find the answer in the text
  std::string cut_mark =
      "model\n";          // of cut_response: what the answer begins behind; empty: nothing is cut
  bool open_line = true;  // an open answer ends with its line
  std::int64_t open_tokens = 24;  // longest answers, in tokens
  std::int64_t instruction_tokens = 64;
  std::int64_t letter_tokens = 4, general_letter_tokens = 6;
};

// What a probe is answered with, where the model answers freely.
struct Generation {
  std::int64_t max_new_tokens = 0;
  bool one_line = false;  // a line break ends it
};

// How measurements are read.
struct Reading {
  bool invalid_is_wrong = false;  // an answer without a letter: wrong, not as good as a guess
};

// What a judge is asked about an answer: is it correct (0 or 1), how related is it to what was
// asked, and how fluent (0 to 2).
enum class JudgeQuestion : std::uint8_t { correct, related, fluent };

// A number that probes of a task have; a set of probes has sum(part) / sum(whole), or the
// exponential of it (perplexities).
struct Number {
  std::string name;
  bool exponential = false;
};
struct Ratio {
  double part = 0, whole = 0;  // whole 0: does not count
};

class Task {
 public:
  virtual ~Task() = default;
  virtual ProbeKind kind() const = 0;
  virtual std::string name() const = 0;

  // Appends the probes of a concept's record, and of what all concepts share.
  virtual void of_concept(const corpus::Concept&, const Making&, std::vector<Probe>&) const {}
  virtual void of_shared(const corpus::SharedText&, const Making&, std::vector<Probe>&) const {}

  // Nothing: the probe's continuations are scored.
  virtual std::optional<Generation> generation(const Probe&, const Asking&) const { return {}; }
  virtual Measurement of_scores(const Probe&, std::span<const model::ContinuationScore>) const;
  // True: the base model's score of an answer is given to of_answer().
  virtual bool is_rated() const { return false; }
  virtual Measurement of_answer(const Probe&, Tokens answer, const model::ContinuationScore& rating,
                                const Asking&) const;

  // What a judge is asked about an answer of the task; and its verdict, NaN where it gave none, put
  // into a measurement, where it goes before what was measured without a judge.
  virtual std::vector<JudgeQuestion> judged() const { return {}; }
  virtual void take_verdict(JudgeQuestion, float, Measurement&) const {}

  // Whose probes the task has, and the numbers of each set of them.
  virtual std::vector<Subset> subsets() const = 0;
  virtual std::vector<Number> numbers() const = 0;
  // The numbers of one probe, as many as numbers(); an empty measurement has none.
  virtual void read(const Probe&, const Measurement&, const Reading&,
                    std::span<Ratio> numbers) const = 0;
};

// All tasks, in the order of their columns.
const std::vector<const Task*>& all_tasks();
// Throws InternalError for a kind without a task.
const Task& task_of(ProbeKind kind);

// ---- for tasks ----
Probe make_probe(ProbeKind kind, Subset subset, Split split);
std::string open_text(const std::string& question);
// The examples that stand before a general question: of its subject, or of any where it has none.
std::vector<const corpus::Question*> examples_for(const corpus::Question& question,
                                                  const corpus::SharedText& shared,
                                                  std::int64_t shots);
// What to tell where general questions have fewer than `shots` examples before them: how many, and
// how many of these have none. Empty: all have as many as were asked for.
std::string missing_examples(const corpus::SharedText& shared, std::int64_t shots);
// Of a choice or lettered measurement: 1 when the right option is the likeliest, 0 when another one
// is, 1/n when n options tie exactly, which is what guessing between them is worth on average.
// (Harnesses that take the first of equals, as lm-evaluation-harness does, let the order of the
// options decide.)
double share_right(const Probe& probe, const Measurement& measurement);
// The mean log-probability of a token of the right answer minus the mean over the wrong ones.
double margin(const Probe& probe, const Measurement& measurement);

}  // namespace quench::tasks
