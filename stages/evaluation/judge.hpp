#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "cluster/task_runner.hpp"
#include "stages/evaluation/evaluation.hpp"
#include "stages/schemas.hpp"

// A judge from outside for open answers and answers to instructions (methods 7.3): its questions
// and answers are JSON Lines files in the OpenAI batch format.
namespace quench::evaluation {

inline constexpr std::int64_t judgement_schema = schemas::judgement;

enum class JudgeQuestion : std::uint8_t { correct, related, fluent };

struct JudgeInputs {
  ProbeSource probes;
  const model::Tokenizer* tokenizer = nullptr;
  const Measurements* baseline = nullptr;
  std::string inputs_hash, run_id;  // of the evaluation whose answers are judged
  std::string judge = "judge";      // model that the requests name
};

// Where the questions of an evaluation go, and where their answers are looked for.
std::filesystem::path judge_requests(const std::filesystem::path& run_directory,
                                     const std::string& inputs_hash);
std::filesystem::path judge_answers(const std::filesystem::path& run_directory,
                                    const std::string& inputs_hash);

// Collective over the world. With an answers' file that answers at least one of the questions,
// writes run_directory/judgement.h5: each verdict (missing and malformed ones NaN, counted), and
// per concept what the base and the joint model get right, with a paired test. Without, writes the
// questions, each distinct one once, removes an older judgement.h5, and returns what is to be done;
// empty: done.
std::string run_judge(const JudgeInputs& inputs, const Options& options, cluster::Context& context);

// ---- what the files hold ----
std::string judge_prompt(JudgeQuestion question, const std::string& asked, const std::string& gold,
                         const std::string& answer);
// A line of a batch file; custom_id tells its answer, `judge` is the model that it names.
std::string judge_line(const std::string& custom_id, const std::string& judge,
                       const std::string& prompt);
// "Correct: 1" or "0" in the last line, else anywhere; "Rating: [[n]]", else the first integer, 0
// to 2. Nothing where there is none.
std::optional<double> judge_verdict(JudgeQuestion question, const std::string& text);

}  // namespace quench::evaluation
