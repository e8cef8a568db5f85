#include "pipeline/command_line.hpp"

#include <boost/program_options/errors.hpp>
#include <boost/program_options/parsers.hpp>
#include <iostream>

#include "cluster/error.hpp"

namespace quench::pipeline {

namespace po = boost::program_options;

std::optional<po::variables_map> CommandLine::parse(const Words& words) {
  options.add_options()("help,h", "this text");
  po::variables_map values;
  try {
    po::store(po::command_line_parser(words).options(options).positional(positional).run(), values);
    if (values.contains("help")) {
      std::cout << "usage: " << usage << "\n\n" << explanation << "\n\n" << options;
      return std::nullopt;
    }
    po::notify(values);
  } catch (const po::error& error) {
    throw ConfigError(std::string(error.what()) + "\nusage: " + usage + "   (--help explains)");
  }
  return values;
}

}  // namespace quench::pipeline
