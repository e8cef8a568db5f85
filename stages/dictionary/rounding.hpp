#pragma once

namespace quench::dictionary {

// Rounding of a float32 dot product, relative to the lengths of its vectors; far below what it
// bounds.
constexpr double rounding = 1e-5;

}  // namespace quench::dictionary
