#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "stages/erasure/search.hpp"

// How strengths are tried and one of them is chosen. Local decisions, made of scores alone: the
// same cells give the same answer, on any rank and after any restart.
namespace quench::erasure {

// The cell that was chosen, if any, and the concept's status.
struct Choice {
  const Cell* cell = nullptr;
  std::string status;
};

class Strategy {
 public:
  Strategy() = default;
  Strategy(const Strategy&) = delete;
  Strategy& operator=(const Strategy&) = delete;
  virtual ~Strategy() = default;

  // The next strength, given all cells so far in the order tried; nothing: the search is over.
  virtual std::optional<double> next(const std::vector<Cell>& tried) const = 0;
  virtual Choice choose(const std::vector<Cell>& tried) const = 0;
  // Cells that a concept costs at most.
  virtual std::int64_t most() const = 0;
};

// erasure.search: all strengths of the list, the best of them or the gentlest that is as good.
std::unique_ptr<Strategy> make_grid(const Options& options);
// erasure.search: the smallest strength that reaches the target.
std::unique_ptr<Strategy> make_target(const Options& options);
std::unique_ptr<Strategy> make_strategy(const Options& options);

}  // namespace quench::erasure
