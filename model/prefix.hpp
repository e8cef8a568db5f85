#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace quench::model {

// Places of contexts that begin with the same `length` tokens; 0: no use is made of it.
struct PrefixGroup {
  std::vector<std::size_t> members;
  std::int64_t length = 0;
};

// Splits contexts into groups so that as many tokens as can be are common to a group; a prefix
// leaves at least the last token of each member, is of `least` tokens and more, and saves at least
// eight times as many. The groups hold every context once. Local.
std::vector<PrefixGroup> prefix_groups(std::span<const std::vector<std::int32_t>* const> contexts,
                                       std::int64_t least);

}  // namespace quench::model
