#include "model/prefix.hpp"

#include <algorithm>
#include <numeric>

namespace quench::model {
namespace {

using Context = std::vector<std::int32_t>;

std::int64_t common(const Context& a, const Context& b) {
  const auto most = static_cast<std::ptrdiff_t>(std::min(a.size(), b.size())) - 1;
  if (most <= 0) return 0;
  return std::mismatch(a.begin(), a.begin() + most, b.begin()).first - a.begin();
}

// Contexts in lexicographic order are a tree of prefixes: a run splits where neighbours have least
// in common.
class Tree {
 public:
  Tree(std::vector<std::int64_t> common_with_next, std::int64_t least)
      : common_(std::move(common_with_next)), least_(least) {}

  struct Run {
    std::size_t begin = 0, end = 0;
    std::int64_t length = 0;
  };
  struct Cover {
    std::int64_t saved = 0;
    std::vector<Run> runs;
  };

  // The best way to cover the run [begin, end).
  Cover best(std::size_t begin, std::size_t end) const {
    if (end - begin == 1) return {0, {{begin, end, 0}}};
    const auto first = common_.begin() + static_cast<std::ptrdiff_t>(begin);
    const auto last = common_.begin() + static_cast<std::ptrdiff_t>(end) - 1;
    const std::int64_t shared = *std::min_element(first, last);
    Cover parts;
    std::size_t from = begin;
    for (std::size_t i = begin; i + 1 < end; ++i)
      if (common_[i] == shared) {
        append(parts, best(from, i + 1));
        from = i + 1;
      }
    append(parts, best(from, end));
    const std::int64_t saved = static_cast<std::int64_t>(end - begin - 1) * shared;
    const bool is_worth = shared >= least_ && saved >= 8 * least_;
    return is_worth && saved >= parts.saved ? Cover{saved, {{begin, end, shared}}} : parts;
  }

 private:
  static void append(Cover& to, const Cover& from) {
    to.saved += from.saved;
    to.runs.insert(to.runs.end(), from.runs.begin(), from.runs.end());
  }

  std::vector<std::int64_t> common_;  // of place i with place i + 1
  std::int64_t least_;
};

}  // namespace

std::vector<PrefixGroup> prefix_groups(std::span<const Context* const> contexts,
                                       std::int64_t least) {
  if (contexts.empty()) return {};
  std::vector<std::size_t> order(contexts.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, std::ranges::less{},
                           [&](std::size_t i) -> const Context& { return *contexts[i]; });
  std::vector<std::int64_t> shared(order.size(), 0);
  for (std::size_t i = 0; i + 1 < order.size(); ++i) {
    const std::int64_t length = common(*contexts[order[i]], *contexts[order[i + 1]]);
    shared[i] = length < least ? 0 : length;
  }
  std::vector<PrefixGroup> groups(1);  // the first: what shares nothing
  for (const auto& run : Tree(std::move(shared), least).best(0, order.size()).runs) {
    PrefixGroup& group = run.length == 0 ? groups.front() : groups.emplace_back();
    group.length = run.length;
    for (auto i = run.begin; i < run.end; ++i) group.members.push_back(order[i]);
  }
  std::ranges::sort(groups.front().members);
  if (groups.front().members.empty()) groups.erase(groups.begin());
  return groups;
}

}  // namespace quench::model
