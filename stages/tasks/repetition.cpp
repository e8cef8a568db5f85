#include "stages/tasks/repetition.hpp"

#include <set>
#include <vector>

namespace quench::tasks {

double distinct(std::span<const std::int32_t> ids, std::size_t n) {
  if (ids.size() < n) return 1;
  std::set<std::vector<std::int32_t>> seen;
  const std::size_t total = ids.size() - n + 1;
  for (std::size_t i = 0; i < total; ++i) {
    const auto gram = ids.subspan(i, n);
    seen.emplace(gram.begin(), gram.end());
  }
  return static_cast<double>(seen.size()) / static_cast<double>(total);
}

double repetition(std::span<const std::int32_t> ids) {
  return ids.size() <= 3 ? 0 : 1 - distinct(ids, 3);
}

}  // namespace quench::tasks
