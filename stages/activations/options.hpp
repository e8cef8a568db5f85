#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "stages/factorisation/stop_rule.hpp"

namespace quench::activations {

struct Options : StopOptions {
  std::vector<std::string> layers;  // "3", "0-17", "all"; empty: the stage is off
  std::int64_t rank = 100;          // features a layer (K)
  double density = 0.01;            // share of a feature's neurons that is kept (sigma)
  double ridge =
      1e-4;  // first try of lambda; raised tenfold, up to three times, when a system is singular
  std::int64_t batch_tokens = 2048;  // of a forward batch
  double checkpoint = 300;           // seconds between checkpoints inside a factorisation
  bool save_g = false;               // G goes into the file too
  std::int64_t seed = 42;
};

}  // namespace quench::activations
