#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "stages/evaluation/metrics.hpp"
#include "stages/evaluation/seeded_sample.hpp"
#include "stages/types.hpp"

// Differences between methods and runs, by paired tests. Local maths, no communication.
namespace quench::evaluation {

struct Difference {
  double value = 0;    // mean of b - a
  Interval interval;   // 95%
  double p = 1;        // two-sided, that there is no difference; NaN: not computed
  std::int64_t n = 0;  // items, or concepts

  // Whether none at all lies outside of the interval.
  bool is_beyond_interval() const { return interval.low > 0 || interval.high < 0; }
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

// All figures (figure_names()) of one set of items in two runs, whose samples were made with one
// purpose: every resample draws the same items in both. Most figures are no means of items, whose
// signs could be flipped: p is that of the bootstrap (bootstrap_p). n: items that both have.
std::vector<Difference> paired_difference(const Sample& a, const Sample& b, std::int64_t resamples);
// The same of means over seeds. Seeds are drawn alike in both where their purposes are one, and
// else independently.
std::vector<Difference> paired_difference(const SeededSample& a, const SeededSample& b,
                                          std::int64_t resamples);

// The two-sided p-value of resampled differences: twice the smaller share of those on one side of 0
// or at it (Efron and Tibshirani, An Introduction to the Bootstrap, 15.4), the observed one counted
// in, so never 0; at most 1. NaN are left out; without any resample NaN.
double bootstrap_p(std::span<const double> resampled);

// The two-sided p-value of differences of independent units, by flipping their signs, as
// paired_difference does.
double sign_flip_p(std::span<const double> differences, std::int64_t resamples,
                   const std::string& purpose);

// Of estimates that share no items, from their intervals: MOVER (Zou and Donner, Construction of
// confidence limits about effect measures, Statistics in Medicine 27, 2008, equation 2), which is
// exact where both are normal and keeps the skewness of bounded figures. No p.
Difference unpaired_difference(const Estimate& a, const Estimate& b);

}  // namespace quench::evaluation
