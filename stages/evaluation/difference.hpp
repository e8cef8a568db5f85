#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "stages/types.hpp"

// Differences between methods and runs, by paired tests. Local maths, no communication.
namespace quench::evaluation {

struct Difference {
  double value = 0;    // mean of b - a
  Interval interval;   // 95%
  double p = 1;        // two-sided, that the difference is none
  std::int64_t n = 0;  // items, or concepts
};

// The same items in two runs: a margin or accuracy each.
struct PairedItems {
  std::vector<double> a, b;  // of one length; a pair with a NaN does not count
};

// Of one set of items: interval by bootstrap over items; p by flipping the signs of the items'
// differences, all ways of it up to 2^14, `resamples` random ones beyond (never 0 then: the
// observed one counts). No items: NaN and p 1. `purpose` keys the random numbers.
Difference paired_difference(const PairedItems& items, std::int64_t resamples,
                             const std::string& purpose);

// Of several concepts, each the mean over its items: interval by hierarchical bootstrap (concepts,
// then items), p by flipping the signs of the concepts' differences.
Difference paired_difference(std::span<const PairedItems> concepts, std::int64_t resamples,
                             const std::string& purpose);

}  // namespace quench::evaluation
