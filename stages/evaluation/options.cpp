#include "stages/evaluation/options.hpp"

namespace quench::evaluation {

void describe(Options& options, OptionTable& table) {
  table.add_choice(
      "evaluation.objective", options.objective,
      "what efficacy and specificity are fractions of: margin (of log-probability; choice alone), "
      "or accuracy above chance as in the paper",
      {"margin", "accuracy"});
  table.add_choice("evaluation.form", options.form,
                   "the form of questions that efficacy and specificity are of",
                   {"choice", "letter", "open"});
  table.add("evaluation.resamples", options.resamples, "bootstrap resamples of the intervals",
            {0, 100000});
  table.add("evaluation.batch_tokens", options.batch_tokens,
            "tokens of a forward batch, padding included", {64, 1 << 22});
  table.add_choice("evaluation.letter", options.letter,
                   "lettered questions by the likelihood of the letters, or by generating 4 tokens "
                   "(6 for general questions) and looking for one",
                   {"likelihood", "generate"});
  table.add_choice("evaluation.invalid", options.invalid,
                   "a generated answer without a letter counts as good as a guess, or as wrong, "
                   "which rewards a model that no longer answers (the paper's way)",
                   {"chance", "wrong"});
  table.add("evaluation.cut_response", options.cut_response,
            "find a generated letter behind the first 'model' or 'assistant' of prompt and answer, "
            "as the paper's code does, also where it is in the question");
  table.add("evaluation.unguarded_fraction", options.unguarded_fraction,
            "divide by the base model's accuracy above chance also where it is not above it");
  table.add("evaluation.open_line", options.open_line, "an open answer ends with its line");
  table.add("evaluation.open_tokens", options.open_tokens,
            "longest answer to an open question, in tokens", {1, 4096});
  table.add("evaluation.instruction_tokens", options.instruction_tokens,
            "longest answer to an instruction, in tokens", {1, 4096});
  table.add("evaluation.alone", options.alone, "evaluate each concept's edit alone too");
  table.add("evaluation.curve", options.curve,
            "evaluate joint edits of 1, 2, 4, ... concepts in a fixed order too");
  table.add("evaluation.early_stop", options.early_stop,
            "a cell of the grid is not measured further where general knowledge falls below "
            "erasure.min_general, or more than max_own_left is left of the concept");
  table.add("evaluation.max_own_left", options.max_own_left, "see early_stop; 1: no such stop",
            {0, 1});
  table.add("evaluation.own_stop_open_only", options.own_stop_open_only,
            "stop at max_own_left for open questions alone, as the paper's code does");
  table.add_choice("evaluation.judge", options.judge,
                   "file: have open answers and answers to instructions judged, by judge.model "
                   "or, without one, elsewhere; through JSONL files in RUN/judge (docs/guide.md)",
                   {"none", "file"});
}

const std::vector<std::string>& measuring_keys() {
  static const std::vector<std::string> keys{
      "evaluation.batch_tokens", "evaluation.open_tokens",  "evaluation.instruction_tokens",
      "evaluation.letter",       "evaluation.cut_response", "evaluation.open_line"};
  return keys;
}

const std::vector<std::string>& scoring_keys() {
  static const std::vector<std::string> keys{
      "evaluation.objective",          "evaluation.form",       "evaluation.invalid",
      "evaluation.unguarded_fraction", "evaluation.early_stop", "evaluation.max_own_left",
      "evaluation.own_stop_open_only"};
  return keys;
}

Rules rules_of(const Options& options) {
  Rules rules;
  rules.objective = options.objective == "accuracy" ? Objective::accuracy : Objective::margin;
  rules.form = options.form == "letter" ? Form::letter
               : options.form == "open" ? Form::open
                                        : Form::choice;
  rules.unguarded_fraction = options.unguarded_fraction;
  rules.reading.invalid_is_wrong = options.invalid == "wrong";
  return rules;
}

bool stops_at(const Options& options, double own_left) {
  const bool stops = options.form == "open" || !options.own_stop_open_only;
  return options.early_stop && stops && own_left > options.max_own_left;
}

MeasureOptions measure_options(const Options& options, const std::string& cut_mark) {
  MeasureOptions measure;
  measure.batch_tokens = options.batch_tokens;
  auto& asking = measure.asking;
  asking.letter_generated = options.letter == "generate";
  asking.cut_response = options.cut_response;
  asking.cut_mark = cut_mark;
  asking.open_line = options.open_line;
  asking.open_tokens = options.open_tokens;
  asking.instruction_tokens = options.instruction_tokens;
  return measure;
}

}  // namespace quench::evaluation
