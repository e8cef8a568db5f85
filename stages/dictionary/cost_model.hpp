#pragma once

#include <cstdint>
#include <string>

// What a factorisation costs, before it is done: the solver chooses by it, and plans print it.
namespace quench::dictionary {

struct FitShape {
  std::int64_t rows = 0;   // n, over all ranks of the group
  std::int64_t width = 0;  // d
  std::int64_t rank = 0;   // K
  std::int64_t kept = 0;   // m, entries a column
  int ranks = 1;           // of the group
};

enum class Form : std::uint8_t { bounded, streamed };

// What one core and one link do: orders of size for a server of the 2020s.
struct Machine {
  double product_rate = 1.5e11;  // float32 flops a second of one rank
  double system_rate = 5e10;     // float64 flops a second
  double memory_rate = 1.2e10;   // bytes a second
  double network_rate = 1e10;    // bytes a second
  double latency = 5e-6;         // seconds a message
};

struct Cost {
  double flops = 0;           // of one rank, an iteration
  double bytes = 0;           // that one rank reads and writes in main memory, an iteration
  double bytes_sent = 0;      // by one rank, an iteration
  double seconds = 0;         // an iteration
  double resident_bytes = 0;  // memory of one rank
};

// Predicted cost of a mean iteration.
Cost predict(const FitShape& shape, Form form, const Machine& machine = {});

// `wanted`: "bounded", "streamed", or "auto": the cheaper one of those that fit.
Form choose_form(const FitShape& shape, const std::string& wanted, const Machine& machine = {});

// Iterations that a fit usually takes under the rule `progress`.
constexpr double usual_iterations = 100;

}  // namespace quench::dictionary
