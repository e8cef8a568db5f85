#pragma once

#include <cstdint>
#include <string>

#include "stages/factorisation/stop_rule.hpp"

namespace quench::dictionary {

struct Options : StopOptions {
  std::string scope = "concept";  // concept | catalog | vocabulary: what one factorisation is of
  std::int64_t rank = 100;        // features a factorisation (K)
  double density = 0.01;          // share of a feature's coefficients that is kept (rho)
  double ridge =
      1e-4;  // first try of lambda; raised tenfold, up to three times, when a system is singular
<<<<<<< HEAD
  std::string form = "auto";    // auto | bounded | streamed: how the dense step is done
  std::string init = "normal";  // normal | svd | file
  std::string init_file;        // file: HDF5, see docs/file-formats.md
  double checkpoint = 300;      // seconds between checkpoints inside a factorisation
=======
  std::string form = "auto";      // auto | bounded | streamed: how the dense step is done
  std::string init = "normal";    // normal | svd | file
  std::string init_file;          // file: HDF5, see docs/file-formats.md
  std::string stop = "progress";  // progress | patience (the reference's rule)
  std::int64_t max_iterations = 20000;
  std::int64_t patience = 500;  // patience: iterations without an improvement above `tolerance`
  double tolerance = 1e-4;      // patience: absolute, of the objective
  std::int64_t window = 20;     // progress: iterations looked back
  double progress =
      1e-4;  // progress: least relative decrease of the best objective over the window
  std::int64_t batch = 0;   // concepts factorised together on one device; 0: 16 on a GPU, else 1
  double checkpoint = 300;  // seconds between checkpoints inside a factorisation
>>>>>>> wt-d
  std::int64_t seed = 42;
};

}  // namespace quench::dictionary
