#pragma once

#include <cstdint>
#include <span>

namespace quench::tasks {

// Share of token 3-grams that occurred before in the text, in [0, 1]; 0 for texts of three tokens
// or fewer.
double repetition(std::span<const std::int32_t> ids);
// Distinct n-grams of tokens over all of them (Li et al. 2016), in (0, 1]; 1 for texts shorter than
// n.
double distinct(std::span<const std::int32_t> ids, std::size_t n);

}  // namespace quench::tasks
