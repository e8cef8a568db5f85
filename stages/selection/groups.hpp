#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "cluster/partition.hpp"

// Which concepts of a catalog are near-duplicates of each other. Local: nothing here communicates.
namespace quench::selection {

// Sparse vectors of unit length over token ids, one a concept: those of concept c are
// [offsets[c], offsets[c + 1]).
struct Profiles {
  std::vector<std::int64_t> offsets = {0};
  std::vector<std::int32_t> ids;
  std::vector<float> weights;
  std::int64_t size() const { return static_cast<std::int64_t>(offsets.size()) - 1; }
};

// Adds one vector, scaled to unit length (one without weight stays empty).
void append_profile(Profiles& profiles, const std::vector<std::int32_t>& ids,
                    const std::vector<double>& weights);

using Pair = std::pair<std::int64_t, std::int64_t>;

// Pairs (c, other), other < c, of c in `own` with a cosine of at least `least`.
std::vector<Pair> similar_pairs(const Profiles& profiles, cluster::Range own, double least);

// Pairs of concepts that share a name or alias; letters of ASCII compare without case.
std::vector<Pair> pairs_by_name(const std::vector<std::vector<std::string>>& names);

// The group of each of `count` concepts, connected by `pairs`: named by its lowest member.
std::vector<std::int64_t> connected_groups(std::int64_t count, const std::vector<Pair>& pairs);

}  // namespace quench::selection
