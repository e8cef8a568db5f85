#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "pipeline/saved_attacks.hpp"
#include "pipeline/saved_run.hpp"
#include "stages/evaluation/evaluation.hpp"

namespace quench::pipeline {

// What a run's joint model said to the test items, and the figures made of it. Starts no MPI, loads
// no weights.
class EvaluatedRun {
 public:
  // The stages whose files are read.
  static const std::vector<std::string>& stages();

  // Keeps a reference. Throws DataError for damaged files.
  explicit EvaluatedRun(const SavedRun& run);
  EvaluatedRun(const EvaluatedRun&) = delete;  // its parts refer to each other
  EvaluatedRun& operator=(const EvaluatedRun&) = delete;

  // Of a concept and of all: the records, and how many items each task makes of each subset.
  struct TestItems {
    std::string records;
    std::map<std::pair<ProbeKind, Subset>, std::int64_t> counts;
    // Whether what both were asked is the same; a task that one run does without is no difference.
    bool agree_with(const TestItems& other) const;
  };

  const SavedRun& run() const { return run_; }
  const corpus::Corpus& corpus() const { return corpus_; }
  std::int64_t concepts() const { return corpus_.concepts(); }
  const std::string& status(std::int64_t c) const { return status_[static_cast<std::size_t>(c)]; }
  double strength(std::int64_t c) const { return edits_.strength(c); }
  std::int64_t tokens(std::int64_t c) const;
  evaluation::Scores scores(std::int64_t c) const;  // of the joint model
  evaluation::Scores mean() const;                  // over the concepts of status ok
  // The options that decide what efficacy and specificity are made of, as one text.
  const std::string& rules_text() const { return rules_text_; }
  // Those that decide how long generated answers are.
  const std::string& answers_text() const { return answers_text_; }

  // The test items of a concept and the general ones as a sample; `purpose` keys the random
  // numbers.
  evaluation::Sample sample(std::int64_t c, const std::string& purpose) const;
  // Which items they are, whatever the tokenizer and the words around a question.
  TestItems items(std::int64_t c) const;

  // The attacks on the joint model; null without a complete relearning.h5.
  const SavedAttacks* attacks() const { return attacks_ ? &*attacks_ : nullptr; }

 private:
  struct Said {
    std::vector<Probe> probes;
    std::vector<Measurement> base, joint;
  };
  Said read(std::vector<Probe> probes, cluster::Range ids) const;

  const SavedRun& run_;
  corpus::Corpus corpus_;
  erasure::Edits edits_;
  cluster::StoreReader evaluation_;
  evaluation::Measurements base_, joint_;
  std::vector<std::string> status_;
  evaluation::Rules rules_;
  std::string rules_text_, answers_text_;
  Said shared_;
  std::optional<SavedAttacks> attacks_;
};

}  // namespace quench::pipeline
