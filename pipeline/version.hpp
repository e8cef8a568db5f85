#pragma once

#include <string>

namespace quench::pipeline {

// "quench 0.1.0 (1a2b3c4d, modified)": version, git commit at build time and whether the tree
// differed from it.
std::string version_text();

}  // namespace quench::pipeline
