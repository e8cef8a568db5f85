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

// A row that the neutral text's tokens have by themselves, far from all others: about it C would be
// made of numbers so long that their rounding decides who wins.
TEST(TokenGram, LeavesASharedMeanThatIsFarOff) {
  constexpr std::int64_t count = 1100, width = 24;
  auto columns = make_columns(count, width);
  for (std::int64_t j = 0; j < width; ++j) columns[7 * width + j] *= 4;
  const auto tokens = make_tokens(count);
  const Rows rows(columns, tokens, width, 1);
  const std::vector<std::int32_t> far{tokens[7]};
  const auto first = columns.begin() + 7 * width;
  const std::vector<float> its(first, first + width);
  const SharedTokenGram block(far, [&] { return Rows(its, far, width, 1); });
  EXPECT_EQ(block.of(rows, tokens).center, token_gram(rows).center);

  Options options;
  options.rank = 20;
  options.form = "gram";
  options.max_iterations = 8;
  Shard shard{rows, 0, count};
  shard.token_gram = [&](const Rows& all) { return block.of(all, tokens); };
  const auto fit = factorise(shard, normal_initial(options, "test"), options,
                             *cluster::make_self_communicator());
  EXPECT_EQ(fit.form, "gram");
  options.form = "bounded";
  const auto bounded = fit_of(columns, width, options);
  for (std::size_t i = 0; i < bounded.objective.size(); ++i)
    EXPECT_NEAR(fit.objective[i], bounded.objective[i], 1e-5 * bounded.objective[i]) << i;
}

TEST(TokenGram, KeepsASharedMeanThatIsNear) {
  const auto columns = make_columns(400, 24);
  const auto tokens = make_tokens(400);
  const Rows rows(columns, tokens, 24, 1);
  const auto half = std::span(tokens).first(200);
  const SharedTokenGram block({half.begin(), half.end()}, [&] {
    return Rows(std::span(columns).first(200 * 24), half, 24, 1);
  });
  EXPECT_NE(block.of(rows, tokens).center, token_gram(rows).center);
}

TEST(Factorise, GramGoesOnFromASavedState) {
  const auto columns = make_columns(1100, 24);
  Options options;
  options.rank = 20;
  options.form = "gram";
  const auto whole = fit_of(columns, 24, options);
  ASSERT_EQ(whole.form, "gram");
  ASSERT_GT(whole.objective.size(), 20U);
  FitState saved;
  std::int64_t iterations = 0;
  FitHooks hooks;
  hooks.stop = [&] { return ++iterations == 15; };
  hooks.save = [&](const FitState& state) { saved = state; };
  const auto self = cluster::make_self_communicator();
  EXPECT_THROW(fit_in(*self, columns, 24, options, hooks), Stopped);
  ASSERT_EQ(saved.objective.size(), 15U);
  FitHooks again;
  again.resume = [&] { return saved; };
  expect_same_fit(fit_in(*self, columns, 24, options, again), whole);
}

}  // namespace
}  // namespace quench::dictionary
