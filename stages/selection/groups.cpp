#include "stages/selection/groups.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <unordered_map>

namespace quench::selection {

namespace {

struct Posting {
  std::int64_t owner;
  float weight;
};
using Index = std::unordered_map<std::int32_t, std::vector<Posting>>;

// Postings of the concepts before `end`, ascending by concept.
Index invert(const Profiles& profiles, std::int64_t end) {
  Index index;
  for (std::int64_t c = 0; c < end; ++c) {
    for (auto i = profiles.offsets[c]; i < profiles.offsets[c + 1]; ++i)
      index[profiles.ids[i]].push_back({c, profiles.weights[i]});
  }
  return index;
}

std::string folded(std::string name) {
  for (char& letter : name)
    if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
  return name;
}

}  // namespace

void append_profile(Profiles& profiles, const std::vector<std::int32_t>& ids,
                    const std::vector<double>& weights) {
  const double length =
      std::sqrt(std::inner_product(weights.begin(), weights.end(), weights.begin(), 0.0));
  for (std::size_t i = 0; length > 0 && i < ids.size(); ++i) {
    if (weights[i] == 0) continue;
    profiles.ids.push_back(ids[i]);
    profiles.weights.push_back(static_cast<float>(weights[i] / length));
  }
  profiles.offsets.push_back(static_cast<std::int64_t>(profiles.ids.size()));
}

std::vector<Pair> similar_pairs(const Profiles& profiles, cluster::Range own, double least) {
  const auto index = invert(profiles, own.end);
  std::vector<Pair> pairs;
  for (auto c = own.begin; c < own.end; ++c) {
    std::vector<double> cosines(c, 0.0);
    for (auto i = profiles.offsets[c]; i < profiles.offsets[c + 1]; ++i) {
      for (const auto& posting : index.at(profiles.ids[i])) {
        if (posting.owner >= c) break;
        cosines[posting.owner] += static_cast<double>(posting.weight) * profiles.weights[i];
      }
    }
    for (std::int64_t other = 0; other < c; ++other)
      if (cosines[other] >= least) pairs.emplace_back(c, other);
  }
  return pairs;
}

std::vector<Pair> pairs_by_name(const std::vector<std::vector<std::string>>& names) {
  std::unordered_map<std::string, std::int64_t> first_owner;
  std::vector<Pair> pairs;
  for (std::size_t c = 0; c < names.size(); ++c) {
    const auto own = static_cast<std::int64_t>(c);
    for (const auto& name : names[c]) {
      const auto [entry, fresh] = first_owner.emplace(folded(name), own);
      if (!fresh && entry->second != own) pairs.emplace_back(own, entry->second);
    }
  }
  return pairs;
}

std::vector<std::int64_t> connected_groups(std::int64_t count, const std::vector<Pair>& pairs) {
  std::vector<std::int64_t> parent(count);
  std::iota(parent.begin(), parent.end(), 0);
  const auto root_of = [&](std::int64_t c) {
    while (parent[c] != c) c = parent[c] = parent[parent[c]];
    return c;
  };
  for (const auto& [a, b] : pairs) {
    const auto [low, high] = std::minmax({root_of(a), root_of(b)});
    parent[high] = low;
  }
  for (std::int64_t c = 0; c < count; ++c) parent[c] = root_of(c);
  return parent;
}

}  // namespace quench::selection
