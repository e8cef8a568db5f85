#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "pipeline/saved_attacks.hpp"
#include "pipeline/saved_run.hpp"
#include "stages/evaluation/evaluation.hpp"

namespace quench::pipeline {

// Which edited models a run is read of: the one with all edits in it, or one of each concept's edit
// alone.
enum class Erased : std::uint8_t { jointly, alone };

// What a run's edited models said to the test items, and the figures made of it. Starts no MPI,
// loads no weights.
class EvaluatedRun {
 public:
  // Adds to `problems` what keeps a run from being read so.
  static void require(const SavedRun& run, Erased erased, Problems& problems);

  // Keeps a reference. Throws DataError for damaged files.
  EvaluatedRun(const SavedRun& run, Erased erased);
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
  // As in edits.h5; "failed" also where the edited model was not measured.
  const std::string& status(std::int64_t c) const { return status_[static_cast<std::size_t>(c)]; }
  double strength(std::int64_t c) const { return edits_.strength(c); }
  std::int64_t tokens(std::int64_t c) const;
  evaluation::Scores scores(std::int64_t c) const;
  evaluation::Scores mean() const;  // over the edited concepts
  // The options that decide what efficacy and specificity are made of, as one text.
  const std::string& rules_text() const { return rules_text_; }
  // Those that decide how long generated answers are.
  const std::string& answers_text() const { return answers_text_; }

  // Whether it is stored what the models said to the general items: of edits alone it is not.
  bool has_general() const { return erased_ == Erased::jointly; }
  // The test items of a concept, and the general ones where they are stored, as a sample; `purpose`
  // keys the random numbers.
  evaluation::Sample sample(std::int64_t c, const std::string& purpose) const;
  // Which items they are, whatever the tokenizer and the words around a question.
  TestItems items(std::int64_t c) const;

  // The attacks on the joint model; null without a complete relearning.h5.
  const SavedAttacks* attacks() const { return attacks_ ? &*attacks_ : nullptr; }

 private:
  struct Said {
    std::vector<Probe> probes;
    std::vector<Measurement> base, edited;
  };
  Said read(std::vector<Probe> probes, cluster::Range ids) const;
  bool is_measured(std::int64_t c) const;

  const SavedRun& run_;
  Erased erased_;
  std::string group_;  // of evaluation.h5
  corpus::Corpus corpus_;
  erasure::Edits edits_;
  cluster::StoreReader evaluation_;
  evaluation::Measurements base_, edited_;
  std::vector<std::string> status_;
  evaluation::Rules rules_;
  std::string rules_text_, answers_text_;
  Said shared_;
  std::optional<SavedAttacks> attacks_;
};

}  // namespace quench::pipeline
