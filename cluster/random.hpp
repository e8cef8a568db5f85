#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace quench::cluster {

// Philox4x32-10 (Salmon et al., SC'11): a pure function of (counter, key).
std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter,
                                    std::array<std::uint32_t, 2> key);

// Random numbers keyed by what they are for (seed and a purpose such as "dictionary.init/<hash>"),
// never by rank: element i of a stream is the same whoever asks for it.
class KeyedRandom {
 public:
  KeyedRandom(std::uint64_t seed, std::string_view purpose);

  std::uint64_t bits(std::uint64_t index) const;
  // The four words that an index has: the cheapest source of many numbers.
  std::array<std::uint32_t, 4> words(std::uint64_t index) const;
  double uniform(std::uint64_t index) const;  // in [0, 1)
  double normal(std::uint64_t index) const;   // N(0, 1), Box-Muller
  std::uint64_t below(std::uint64_t index,
                      std::uint64_t bound) const;  // unbiased enough: 64-bit multiply-shift
  // A permutation of 0 .. n-1 (Fisher-Yates on the stream's elements 0 .. n-1).
  std::vector<std::int64_t> permutation(std::int64_t n) const;

 private:
  std::array<std::uint32_t, 2> key_;
  std::uint64_t stream_;
};

}  // namespace quench::cluster
