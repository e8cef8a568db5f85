#pragma once

#include <boost/program_options/options_description.hpp>
#include <boost/program_options/positional_options.hpp>
#include <boost/program_options/variables_map.hpp>
#include <optional>
#include <string>

#include "pipeline/commands.hpp"

namespace quench::pipeline {

// One command's options and its help text.
struct CommandLine {
  std::string usage;        // "quench status RUN"
  std::string explanation;  // a paragraph or two, with an example
  boost::program_options::options_description options{"options"};
  boost::program_options::positional_options_description positional;

  // Parses the words; prints the help and returns nothing when it is asked for. Throws ConfigError
  // naming the wrong word.
  std::optional<boost::program_options::variables_map> parse(const Words& words);
};

}  // namespace quench::pipeline
