#pragma once

#include <string>
#include <vector>

#include "cluster/error.hpp"

// The commands of the program. Each takes the words after its name and returns the exit code;
// throws Error.
namespace quench::pipeline {

using Words = std::vector<std::string>;

struct Command {
  const char* name;
  const char* summary;  // one line of the overview
  ExitCode (*function)(const Words&);
};

// Reading and writing runs.
ExitCode run_command(const Words& words);
ExitCode status_command(const Words& words);
ExitCode inspect_command(const Words& words);
ExitCode diff_command(const Words& words);
ExitCode export_command(const Words& words);
ExitCode report_command(const Words& words);
ExitCode plan_command(const Words& words);
// A catalog alone.
ExitCode catalog_command(const Words& words);
// A line in, a line out; under mpirun rank 0 reads and writes.
ExitCode tokenize_command(const Words& words);
ExitCode score_command(const Words& words);
ExitCode generate_command(const Words& words);

// In the order of the overview.
const std::vector<Command>& commands();

}  // namespace quench::pipeline
