#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>

#include "stages/options.hpp"

// Stage report: one self-contained HTML page and CSV tables from the files of a run. Starts no MPI,
// loads no model.
namespace quench::report {

struct Options {
  std::string redact = "sensitive";  // whose answers are left out: sensitive | all | none
  std::int64_t examples = 3;         // questions of each kind shown with their answers
};
void describe(Options& options, OptionTable& table);  // keys report.*

// Names of the concepts whose answers are not for everybody; nothing: it is not known which are.
using Sensitive = std::optional<std::set<std::string>>;

struct Summary {
  std::string table;           // for a terminal: a line a concept and the joint means, aligned
  std::filesystem::path page;  // run_directory/report/index.html
};

// Reads every stage file that is complete (and manifest.json, timings.json), writes
// report/index.html and report/*.csv atomically. Decoding edited tokens needs the tokenizer of the
// run's model directory. What `redact` leaves out stands in none of these files; with redact =
// sensitive and nobody knowing which concepts are, all answers are left out. Local. Throws
// DataError when the run directory holds nothing to report.
Summary write_report(const std::filesystem::path& run_directory, const Options& options,
                     const Sensitive& sensitive);

// The terminal table alone, of what is there so far; for `quench status` and the end of `quench
// run`.
std::string summary_table(const std::filesystem::path& run_directory);

}  // namespace quench::report
