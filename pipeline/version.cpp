#include "pipeline/version.hpp"

namespace quench::pipeline {

std::string version_text() { return "quench " QUENCH_VERSION " (" QUENCH_GIT ")"; }

}  // namespace quench::pipeline
