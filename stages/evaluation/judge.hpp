#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cluster/task_runner.hpp"
#include "stages/batch_format.hpp"
#include "stages/evaluation/evaluation.hpp"
#include "stages/schemas.hpp"

// A judge for open answers and answers to instructions (methods 7.3).
namespace quench::evaluation {

inline constexpr std::int64_t judgement_schema = schemas::judgement;

using tasks::JudgeQuestion;

struct JudgeInputs {
  ProbeSource probes;
  const model::Tokenizer* tokenizer = nullptr;
  const Measurements* baseline = nullptr;
  std::vector<bool> edited;  // concepts that have an edit at all
  // Has rank 0's questions of a round answered, of so many tokens at most. Collective over the
  // world; throws where answers have to be waited for.
  std::function<BatchContents(const std::string& round, const std::vector<BatchQuestion>& questions,
                              std::int64_t max_tokens)>
      ask;
  std::string judge;                // tells judges apart
  std::string inputs_hash, run_id;  // of the evaluation whose answers are judged
};

// Collective over the world. Has each distinct answer judged once, and writes
// run_directory/judgement.h5: each verdict (missing and malformed ones NaN, counted), what the base
// and the joint model get right a concept, with a paired test, and the evaluation's figures with
// the verdicts in the place of what was measured without a judge. An older judgement.h5 is removed
// before the judge is asked. Throws what `ask` does.
void run_judge(const JudgeInputs& inputs, const Options& options, cluster::Context& context);

// A verdict on a probe's answer by the base and by the joint model.
struct Verdict {
  std::int64_t probe = 0;
  JudgeQuestion question = JudgeQuestion::correct;
  double base = 0, joint = 0;  // NaN: missing
};

// ---- what the files hold ----
std::string judge_prompt(JudgeQuestion question, const std::string& asked, const std::string& gold,
                         const std::string& answer);
// "Correct: 1" or "0" in the last line, else anywhere; "Rating: [[n]]", else the first integer, 0
// to 2. Nothing where there is none.
std::optional<double> judge_verdict(JudgeQuestion question, const std::string& text);

}  // namespace quench::evaluation
