#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "stages/dictionary/cost_model.hpp"
#include "stages/factorisation/stop_rule.hpp"

namespace quench::dictionary {

struct Options : StopOptions {
  std::string scope = "concept";  // concept | catalog | vocabulary: what one factorisation is of
  std::int64_t rank = 100;        // features a factorisation (K)
  double density = 0.01;          // share of a feature's coefficients that is kept (rho)
  double ridge =
      1e-4;  // first try of lambda; raised tenfold, up to three times, when a system is singular
  std::string form = "auto";    // auto | gram | bounded | streamed: how an iteration is done
  std::string init = "normal";  // normal | svd | file
  std::string init_file;        // file: HDF5 with G_0
  std::int64_t batch = 0;   // concepts factorised together on one device; 0: 16 on a GPU, else 1
  double checkpoint = 300;  // seconds between checkpoints inside a factorisation
  std::int64_t seed = 42;
};

// Of a fit, as far as the rule to stop tells.
inline double expected_iterations(const Options& options) {
  return std::min(static_cast<double>(options.max_iterations),
                  options.stop == "patience" ? usual_patient_iterations : usual_iterations);
}

}  // namespace quench::dictionary
