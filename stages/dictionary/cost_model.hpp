#pragma once

#include <cstdint>
#include <string>

// What a factorisation costs, before it is done: the solver chooses by it, and plans print it.
namespace quench::dictionary {

// Iterations that a fit usually takes under the rule `progress`, and under `patience`
// (docs/scaling.md).
constexpr double usual_iterations = 100, usual_patient_iterations = 650;

struct FitShape {
  std::int64_t rows = 0;     // n, over all ranks of the group
  std::int64_t width = 0;    // d
  std::int64_t rank = 0;     // K
  std::int64_t kept = 0;     // m, entries a column
  int ranks = 1;             // of the group
  double product_speed = 1;  // of products with A over float32 ones: rows of bfloat16, and a
                             // processor that multiplies such, are faster
  double iterations = usual_iterations;  // expected
};

// Direct forms hold A and multiply it by F~: `bounded` skips entries that cannot win, `streamed`
// never holds all of them. `gram` holds C = A^T A instead (alternation.hpp), on one rank. On
// devices `batched` makes many fits at once, each on one rank, and `device` one over all ranks;
// neither is ever chosen by its cost.
enum class Form : std::uint8_t { bounded, streamed, gram, batched, device };
std::string name_of(Form form);
Form form_named(const std::string& name);

// What a block of columns takes on a device for a while.
constexpr std::int64_t device_block_bytes = std::int64_t{1} << 29;

// What one rank and one link do: orders of size for a server of the 2020s.
struct Machine {
  double product_rate = 1.2e11;  // float32 flops a second of one rank
  double system_rate = 4e10;     // float64 flops a second
  double memory_rate = 2.5e10;   // bytes a second, in order
  double visit_rate = 1e10;      // bytes a second, rows in any order
  double network_rate = 1e10;    // bytes a second
  double latency = 5e-6;         // seconds a message
  double call = 2e-5;            // seconds to begin a step on all threads

  // A rank with a GPU of its own. From data sheets: nothing was measured on one.
  static Machine gpu() { return {3e13, 1e13, 1.5e12, 5e11, 5e10, 2e-5, 1e-5}; }
};

struct Cost {
  double flops = 0;           // of one rank, an iteration
  double bytes = 0;           // that one rank reads and writes in main memory, an iteration
  double bytes_sent = 0;      // by one rank, an iteration
  double seconds = 0;         // an iteration
  double start_seconds = 0;   // once: the first sums, and C
  double resident_bytes = 0;  // memory of one rank, at most; of one fit of a batch
  double gathered_bytes = 0;  // of rank 0 of the group besides, where G is whole: at a checkpoint
  double fit_seconds(double iterations) const { return start_seconds + iterations * seconds; }
};

// Predicted cost of a mean iteration.
Cost predict(const FitShape& shape, Form form, const Machine& machine = {});

// `wanted`: a form's name, or "auto": the cheapest one, over the expected iterations, of those that
// fit; also instead of a `gram` that does not (several ranks, n > 16,384, K > d, 2K >
// n).
Form choose_form(const FitShape& shape, const std::string& wanted, const Machine& machine = {});

}  // namespace quench::dictionary
