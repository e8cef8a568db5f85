// The edit of one concept, and of several jointly.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "stages/erasure/erasure.hpp"
#include "tests/unit/small_factors.hpp"

namespace quench::erasure {
namespace {

using namespace testing;
using Ids = std::vector<std::int32_t>;
using Values = std::vector<float>;

TEST(UnitEdit, ByHand) {
  const auto both = unit_edit(small_factors(), {{0, 1}, {5, 9}}, 4, small_refit(false));
  EXPECT_EQ(both.width, 2);
  EXPECT_EQ(both.ids, (Ids{5, 9}));
  EXPECT_EQ(both.values, (Values{20 / 4.0f, 40 / 4.0f, 29 / 4.0f, 58 / 4.0f}));
  const auto first = unit_edit(small_factors(), {{0}, {3, 9}}, 1, small_refit(false));
  EXPECT_EQ(first.ids, (Ids{3, 9}));
  EXPECT_EQ(first.values, (Values{0.5f, 1, -1, -2}));
  EXPECT_TRUE(unit_edit({}, {}, 1, small_refit(false)).ids.empty());
}

// Features (1, 2), (3, -1) and (0, 1); token 9 is of the first two, token 5 of the third.
Factors skew_factors() {
  Factors factors;
  factors.tokens = {5, 9};
  factors.width = 2;
  factors.rank = 3;
  factors.features = {1, 2, 3, -1, 0, 1};
  factors.rows = {1, 1, 0};
  factors.coefficients = {7, 7, 7};
  return factors;
}

// The first coefficient of the ridge regression of y on two features: Cramer's rule.
double first_of_two(const double (&f)[2], const double (&g)[2], const double (&y)[2],
                    double ridge) {
  const auto dot = [](const double(&a)[2], const double(&b)[2]) {
    return a[0] * b[0] + a[1] * b[1];
  };
  const double ff = dot(f, f) + ridge, gg = dot(g, g) + ridge, fg = dot(f, g);
  return (dot(f, y) * gg - dot(g, y) * fg) / (ff * gg - fg * fg);
}

TEST(UnitEdit, RefitSolvesTheWholeSupportAndTakesTheSelectedPart) {
  for (const double ridge : {1e-4, 2.0}) {
    const auto edit = unit_edit(skew_factors(), {{0}, {9}}, 4, small_refit(true, ridge));
    const double x = first_of_two({1, 2}, {3, -1}, {36, -18}, ridge);  // the row in scaled space
    ASSERT_EQ(edit.ids, Ids{9});
    EXPECT_NEAR(edit.values.at(0), x / 4, 1e-4) << ridge;
    EXPECT_NEAR(edit.values.at(1), 2 * x / 4, 1e-4) << ridge;
  }
  // The third feature alone: its coefficient on (20, -10) is -10.
  const auto edit = unit_edit(skew_factors(), {{2}, {5}}, 4, small_refit(true));
  EXPECT_EQ(edit.values, (Values{0, -10 / 4.0f}));
}

TEST(UnitEdit, VariantsTakeTheirStemsSupport) {
  const auto edit =
      unit_edit(skew_factors(), {{1, 2}, {5, 9}, {{7, 9}, {20, 5}}}, 1, small_refit(false));
  ASSERT_EQ(edit.ids, (Ids{5, 7, 9, 20}));
  // Row 7 is (7, -3.5) = 1 (3, -1) x ... solved on (1, 2) and (3, -1): only the second is selected.
  const double x = first_of_two({3, -1}, {1, 2}, {7, -3.5}, 0);
  EXPECT_NEAR(edit.values.at(2), 3 * x, 1e-5);
  EXPECT_NEAR(edit.values.at(3), -x, 1e-5);
  EXPECT_EQ(edit.values.at(0), 0);  // 5 and 9 keep the fit's coefficients
  EXPECT_EQ(edit.values.at(1), 7);
  EXPECT_EQ(edit.values.at(4), 21);
  EXPECT_NEAR(edit.values.at(7), -10, 1e-5);
}

// Two concepts that share token 2; a third, of the second's group, edits 2 and 3.
Share share(std::int64_t which, double strength) {
  static const std::vector<model::RowDeltas> edits = {
      {2, {1, 2}, {1, 0, 0, 2}}, {2, {2, 3}, {3, 0, 1, 1}}, {2, {2, 3}, {0, 1, -1, 1}}};
  return {edits[which], strength, which == 0 ? 0 : 1};
}

Joint combined(std::vector<double> strengths, const std::string& rule, bool reversed = false) {
  std::vector<Share> shares;
  for (std::size_t i = 0; i < strengths.size(); ++i) shares.push_back(share(i, strengths[i]));
  if (reversed) std::ranges::reverse(shares);
  return combine(shares, rule);
}

TEST(Combine, SumsSharedTokens) {
  for (const bool reversed : {false, true}) {
    const auto joint = combined({2, 1}, "edit", reversed);
    EXPECT_EQ(joint.edit.width, 2);
    EXPECT_EQ(joint.edit.ids, (Ids{1, 2, 3}));
    EXPECT_EQ(joint.edit.values, (Values{2, 0, 3, 4, 1, 1}));
    EXPECT_EQ(joint.shared, (std::vector<Ids>{{2}, {2}}));
    EXPECT_EQ(joint.dropped, (std::vector<Ids>{{}, {}}));
  }
}

TEST(Combine, KeepsTheStrongest) {
  for (const bool reversed : {false, true}) {
    const auto first = combined({2, 1}, "strongest", reversed);
    EXPECT_EQ(first.edit.values, (Values{2, 0, 0, 4, 1, 1}));
    EXPECT_EQ(first.dropped, reversed ? (std::vector<Ids>{{2}, {}}) : (std::vector<Ids>{{}, {2}}));
    EXPECT_EQ(combined({1, 2}, "strongest", reversed).edit.values, (Values{1, 0, 6, 0, 2, 2}));
  }
}

TEST(Combine, SkipsWhatGroupsDispute) {
  const auto joint = combined({2, 1, 1}, "skip");
  EXPECT_EQ(joint.edit.ids, (Ids{1, 3}));
  EXPECT_EQ(joint.edit.values, (Values{2, 0, 0, 2}));  // within a group edits add up
  EXPECT_EQ(joint.shared, (std::vector<Ids>{{2}, {2}, {2}}));
  EXPECT_EQ(joint.dropped, joint.shared);
  const auto group = combined({0, 1, 1}, "skip");
  EXPECT_EQ(group.edit.ids, (Ids{2, 3}));
  EXPECT_EQ(group.edit.values, (Values{3, 1, 0, 2}));
  EXPECT_EQ(group.shared, (std::vector<Ids>{{}, {}, {}}));
}

TEST(Combine, LeavesOutWhatIsNotEdited) {
  EXPECT_EQ(combined({0, 2}, "edit").edit.ids, (Ids{2, 3}));
  EXPECT_EQ(combined({0, 2}, "strongest").edit.values, (Values{6, 0, 2, 2}));
  EXPECT_EQ(combined({0, 2}, "skip").edit.values, (Values{6, 0, 2, 2}));
  EXPECT_TRUE(combined({0, 0}, "edit").edit.ids.empty());
  EXPECT_TRUE(combine({}, "edit").edit.ids.empty());
}

TEST(Overlaps, CosineOverAllRows) {
  const std::vector<Share> shares = {share(0, 2), share(1, 5), share(2, 1), share(0, 0)};
  const auto pairs = overlaps(shares);
  ASSERT_EQ(pairs.size(), 3U);
  EXPECT_EQ(pairs[0], (Overlap{0, 1, 1, 0}));  // (0, 2) and (3, 0)
  EXPECT_EQ(pairs[1].tokens, 1);
  EXPECT_NEAR(pairs[1].cosine, 2 / std::sqrt(5.0 * 3), 1e-9);
  EXPECT_EQ(pairs[2], (Overlap{1, 2, 2, 0}));  // 3 0 1 1 and 0 1 -1 1
}

}  // namespace
}  // namespace quench::erasure
