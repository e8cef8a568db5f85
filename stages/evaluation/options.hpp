#pragma once

#include <cstdint>
#include <string>

#include "stages/evaluation/measure.hpp"
#include "stages/evaluation/metrics.hpp"
#include "stages/options.hpp"

namespace quench::evaluation {

struct Options {
  std::string objective = "margin";   // margin | accuracy
  std::string form = "choice";        // choice | letter | open
  std::int64_t resamples = 1000;      // of the bootstrap
  std::int64_t batch_tokens = 512;    // tokens of a forward batch, padding included
  std::string letter = "likelihood";  // likelihood | generate
  std::string invalid = "chance";     // chance | wrong
  bool cut_response = false;
  bool unguarded_fraction = false;
  bool open_line = true;
  std::int64_t open_tokens = 24;
  std::int64_t instruction_tokens = 64;
  bool alone = true;        // evaluate each concept's edit alone too, not only the joint model
  bool curve = true;        // the joint edit of 1, 2, 4, ... concepts
  bool early_stop = false;  // of cells of the grid that fail a gate
  double max_own_left = 1;  // gate of early_stop: most that may be left of the concept
  bool own_stop_open_only = false;
  std::string judge = "none";  // none | file
};
void describe(Options& options, OptionTable& table);  // keys evaluation.*
// The keys that decide what a model's answers are, beside probes and model.
const std::vector<std::string>& measuring_keys();
// The keys that decide the figures made of them.
const std::vector<std::string>& scoring_keys();

Rules rules_of(const Options& options);
// Whether early_stop ends a cell that leaves so much of the concept; NaN, not measured, ends none.
bool stops_at(const Options& options, double own_left);
// cut_mark: what the model's template writes before an answer (methods 7.1).
MeasureOptions measure_options(const Options& options, const std::string& cut_mark = "model\n");

}  // namespace quench::evaluation
