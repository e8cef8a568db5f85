#pragma once

#include <cstdint>

// Versions of the layouts of the stages' files: one place for those that write and for those that
// read them. The root of a file carries the number attribute "failures": tasks that failed.
namespace quench::schemas {

inline constexpr std::int64_t corpus = 3;
inline constexpr std::int64_t dictionary = 1;
inline constexpr std::int64_t activations = 1;
inline constexpr std::int64_t selection = 2;
inline constexpr std::int64_t evaluation = 4;  // baseline.h5 and evaluation.h5
inline constexpr std::int64_t edits = 4;
inline constexpr std::int64_t relearning = 3;
inline constexpr std::int64_t judgement = 2;

}  // namespace quench::schemas
