#include <gtest/gtest.h>

#include <algorithm>
#include <bit>

#include "stages/dictionary/token_gram.hpp"
#include "tests/unit/small_fits.hpp"

namespace quench::dictionary {
namespace {

// Two features of the same single token: F^T F is singular but for the ridge.
TEST(Factorise, GramAgreesWhereFeaturesAreTheSame) {
  const auto columns = make_columns(1100, 30);
  Options options;
  options.rank = 25;
  options.density = 1e-9;
  options.max_iterations = 15;
  options.form = "gram";
  const auto gram = fit_of(columns, 30, options);
  EXPECT_EQ(gram.form, "gram");
  std::vector<std::int32_t> tokens(gram.factors.rows);
  std::ranges::sort(tokens);
  EXPECT_NE(std::ranges::adjacent_find(tokens), tokens.end());
  options.form = "bounded";
  expect_same_fit(gram, fit_of(columns, 30, options));
}

TEST(TokenGram, IsThatOfTheRowsAlsoWithABlockThatIsShared) {
  for (const bool halved : {false, true}) {
    auto columns = make_columns(500, 33);
    if (halved)
      for (auto& value : columns)
        value = std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) & 0xffff0000U);
    const auto tokens = make_tokens(500);
    const Rows rows(columns, tokens, 33, 2);
    const auto a = at::from_blob(columns.data(), {500, 33}).to(at::kDouble);
    const auto expected = at::mm(a, a.t());
    const auto near = [&](TokenGram gram) {
      const auto along = at::from_blob(gram.along.data(), {500}, at::kDouble);
      auto products = at::empty({500, 500}, at::kDouble);
      for (int i = 0; i < 500; ++i)
        for (int j = 0; j < 500; ++j) products[i].data_ptr<double>()[j] = gram.products.at(i, j);
      const auto actual = products + along.unsqueeze(0) + along.unsqueeze(1) + gram.square;
      return at::allclose(actual, expected, 1e-6, 1e-5);
    };
    EXPECT_TRUE(near(token_gram(rows)));
    // Tokens of the block: every third one, and one that the rows lack.
    std::vector<std::int32_t> shared{1};
    std::vector<float> values(33, 100);
    for (std::int64_t i = 0; i < 500; i += 3) {
      shared.push_back(tokens[i]);
      values.insert(values.end(), columns.begin() + i * 33, columns.begin() + (i + 1) * 33);
    }
    const SharedTokenGram block(shared, [&] { return Rows(values, shared, 33, 2); });
    EXPECT_TRUE(near(block.of(rows, tokens)));
  }
}

}  // namespace
}  // namespace quench::dictionary
