#include "pipeline/embedding_rows.hpp"

#include <gtest/gtest.h>

namespace quench::pipeline {
namespace {

TEST(Neighbours, NearestFirstWithoutTheMeanRow) {
  // A few directions, moved far off the origin: their raw cosines are all near 1.
  auto rows = at::tensor({1.f, 0.f, 2.f, 0.1f, 0.f, 1.f, -3.7f, -1.8f, 0.7f, 0.7f}).view({5, 2});
  rows -= rows.mean(0);
  const auto embedding = rows + at::tensor({5.f, 1.f});
  const std::vector<std::int32_t> tokens = {0, 2};
  const auto near = neighbours_of(embedding, tokens, 0.5);
  const auto unit = rows / rows.norm(2, 1, true);
  const auto cosines = unit.mm(unit.t());
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    double last = 1;
    std::size_t expected = 0;
    for (std::int64_t t = 0; t < 5; ++t)
      if (t != tokens[i] && cosines[tokens[i]][t].item<float>() >= 0.5) ++expected;
    EXPECT_EQ(near.at(i).size(), expected);
    EXPECT_GT(expected, 0U);
    for (const auto& [token, cosine] : near[i]) {
      EXPECT_NEAR(cosine, cosines[tokens[i]][token].item<float>(), 1e-5);
      EXPECT_LE(cosine, last);
      last = cosine;
    }
  }
  EXPECT_TRUE(neighbours_of(embedding, tokens, 1.0).at(0).empty());
}

}  // namespace
}  // namespace quench::pipeline
