// The joint edit of several concepts, and where they meet.
#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "stages/erasure/erasure.hpp"

namespace quench::erasure {

namespace {

std::span<const float> row_of(const model::RowDeltas& edit, std::size_t i) {
  return std::span(edit.values).subspan(i * edit.width, edit.width);
}

double dot(std::span<const float> a, std::span<const float> b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0, std::plus<>{},
                            [](double x, double y) { return x * y; });
}

// A row of one share's edit.
struct Claim {
  std::size_t share, place;
};
using Claims = std::map<std::int32_t, std::vector<Claim>>;  // by token; claims by share

Claims claims_of(std::span<const Share> shares) {
  Claims claims;
  for (std::size_t s = 0; s < shares.size(); ++s) {
    if (shares[s].strength == 0) continue;
    for (std::size_t i = 0; i < shares[s].edit.ids.size(); ++i)
      claims[shares[s].edit.ids[i]].push_back({s, i});
  }
  return claims;
}

bool disputed(std::span<const Share> shares, const std::vector<Claim>& claims) {
  return std::ranges::any_of(claims, [&](const Claim& claim) {
    return shares[claim.share].group != shares[claims.front().share].group;
  });
}

double length_of(std::span<const Share> shares, const Claim& claim) {
  const auto row = row_of(shares[claim.share].edit, claim.place);
  return std::abs(shares[claim.share].strength) * std::sqrt(dot(row, row));
}

// The claims that the rule upholds; the first of the longest ones under `strongest`.
std::vector<Claim> upheld(std::span<const Share> shares, const std::vector<Claim>& claims,
                          const std::string& rule) {
  if (rule == "strongest")
    return {*std::ranges::max_element(
        claims, {}, [&](const Claim& claim) { return length_of(shares, claim); })};
  if (rule == "skip" && disputed(shares, claims)) return {};
  return claims;
}

void append_row(std::span<const Share> shares, const std::vector<Claim>& claims, std::int32_t token,
                model::RowDeltas& edit) {
  std::vector<double> sum(edit.width, 0.0);
  for (const auto& claim : claims) {
    const auto row = row_of(shares[claim.share].edit, claim.place);
    for (std::size_t x = 0; x < row.size(); ++x) sum[x] += shares[claim.share].strength * row[x];
  }
  edit.ids.push_back(token);
  for (const double x : sum) edit.values.push_back(static_cast<float>(x));
}

double norm_of(const model::RowDeltas& edit) { return std::sqrt(dot(edit.values, edit.values)); }

}  // namespace

Joint combine(std::span<const Share> shares, const std::string& rule) {
  Joint joint;
  joint.shared.resize(shares.size());
  joint.dropped.resize(shares.size());
  for (const auto& share : shares) joint.edit.width = std::max(joint.edit.width, share.edit.width);
  for (const auto& [token, claims] : claims_of(shares)) {
    const auto kept = upheld(shares, claims, rule);
    if (!kept.empty()) append_row(shares, kept, token, joint.edit);
    if (!disputed(shares, claims)) continue;
    std::set<std::size_t> keepers;
    for (const auto& claim : kept) keepers.insert(claim.share);
    for (const auto& claim : claims) {
      joint.shared[claim.share].push_back(token);
      if (!keepers.contains(claim.share)) joint.dropped[claim.share].push_back(token);
    }
  }
  return joint;
}

std::vector<Overlap> overlaps(std::span<const Share> shares) {
  std::map<std::pair<std::size_t, std::size_t>, Overlap> pairs;
  for (const auto& [token, claims] : claims_of(shares)) {
    for (auto a = claims.begin(); a != claims.end(); ++a) {
      for (auto b = a + 1; b != claims.end(); ++b) {
        auto& pair = pairs[{a->share, b->share}];
        ++pair.tokens;
        pair.cosine +=
            dot(row_of(shares[a->share].edit, a->place), row_of(shares[b->share].edit, b->place));
      }
    }
  }
  std::vector<double> norms;
  for (const auto& share : shares) norms.push_back(norm_of(share.edit));
  std::vector<Overlap> out;
  for (auto& [places, pair] : pairs) {
    pair.first = static_cast<std::int64_t>(places.first);
    pair.second = static_cast<std::int64_t>(places.second);
    const double lengths = norms[places.first] * norms[places.second];
    pair.cosine = lengths > 0 ? pair.cosine / lengths : 0;
    out.push_back(pair);
  }
  return out;
}

}  // namespace quench::erasure
