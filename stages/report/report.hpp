#pragma once

#include <filesystem>
#include <string>

// Stage report: one self-contained HTML page and CSV tables from the files of a run. Starts no MPI,
// loads no model.
namespace quench::report {

struct Summary {
  std::string table;           // for a terminal: a line a concept and the joint means, aligned
  std::filesystem::path page;  // run_directory/report/index.html
};

// Reads every stage file that is complete (and manifest.json, timings.json), writes
// report/index.html and report/*.csv atomically. Decoding edited tokens needs the tokenizer of the
// run's model directory. Local. Throws DataError when the run directory holds nothing to report.
Summary write_report(const std::filesystem::path& run_directory);

// The terminal table alone, of what is there so far; for `quench status` and the end of `quench
// run`.
std::string summary_table(const std::filesystem::path& run_directory);

}  // namespace quench::report
