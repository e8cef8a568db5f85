#include "pipeline/commands.hpp"

namespace quench::pipeline {

const std::vector<Command>& commands() {
  static const std::vector<Command> list = {
      {"run", "erase a catalog of concepts from a model, with evaluation, attacks and report",
       run_command},
      {"plan", "what a run will need: tasks, memory a node, estimated time", plan_command},
      {"status", "how far a run is, and its figures so far", status_command},
      {"inspect", "one concept of a run: features, edited tokens, figures", inspect_command},
      {"diff", "two runs side by side: what differs, which figures moved", diff_command},
      {"report", "write a run's HTML page and CSV tables again", report_command},
      {"export", "write an erased model directory, or the edited rows, from a run", export_command},
      {"catalog", "check a catalog, or count what it holds", catalog_command},
      {"tokenize", "text lines to token ids", tokenize_command},
      {"score", "log-probabilities of continuations, JSON lines", score_command},
      {"generate", "greedy answers to prompts, JSON lines", generate_command},
  };
  return list;
}

}  // namespace quench::pipeline
