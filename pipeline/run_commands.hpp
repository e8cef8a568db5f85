#pragma once

#include <boost/program_options/options_description.hpp>
#include <boost/program_options/variables_map.hpp>

#include "pipeline/configuration.hpp"

// What commands that take a configuration share.
namespace quench::pipeline {

void add_configuration_options(boost::program_options::options_description& options);

// Files in order, then --set, then checks. Throws ConfigError.
void read_configuration(Configuration& configuration,
                        const boost::program_options::variables_map& values);

}  // namespace quench::pipeline
