#include "stages/dictionary/factorise.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "cluster/error.hpp"
#include "cluster/random.hpp"
#include "stages/dictionary/sparse_columns.hpp"

namespace quench::dictionary {
namespace {

struct Shape {
  std::int64_t rows, width, rank;
  double density;
};

// Rows near a few common directions, as embeddings are.
std::vector<float> make_columns(std::int64_t rows, std::int64_t width) {
  constexpr std::int64_t topics = 7;
  const cluster::KeyedRandom random(7, "factorise_test");
  std::vector<float> out(rows * width);
  for (std::int64_t i = 0; i < rows * width; ++i) {
    const auto topic = (i / width) * 31 % topics;
    const auto common = random.normal(1'000'000 + topic * width + i % width);
    out[i] = static_cast<float>(0.3 * random.normal(i) + common);
  }
  return out;
}

std::vector<std::int32_t> make_tokens(std::int64_t rows) {
  std::vector<std::int32_t> out(rows);
  for (std::int64_t i = 0; i < rows; ++i) out[i] = static_cast<std::int32_t>(3 * i + 5);
  return out;
}

Fit fit_of(const std::vector<float>& columns, std::int64_t width, const Options& options) {
  const auto rows = static_cast<std::int64_t>(columns.size()) / width;
  return factorise(columns, make_tokens(rows), width, options, "test");
}

at::Tensor dense_coefficients(const Factors& factors) {
  auto out =
      at::zeros({static_cast<std::int64_t>(factors.tokens.size()), factors.rank}, at::kDouble);
  const auto kept = factors.per_feature();
  for (std::int64_t i = 0; i < factors.rank * kept; ++i)
    out[factors.rows[i]][i / kept] = factors.coefficients[i];
  return out;
}

at::Tensor dense_features(const Factors& factors) {
  return at::from_blob(const_cast<float*>(factors.features.data()), {factors.rank, factors.width},
                       at::kFloat)
      .t()
      .to(at::kDouble);
}

// The steps of the reference, as written (methods 3.1), dense and in float64.
struct Reference {
  at::Tensor a, f, g;
  double ridge;
  std::int64_t kept;

  Reference(const std::vector<float>& columns, const Shape& shape, const Options& options)
      : ridge(options.ridge),
        kept(std::max<std::int64_t>(1, std::ceil(shape.density * shape.rows))) {
    a = at::empty({shape.width, shape.rows}, at::kDouble);
    g = at::empty({shape.rows, shape.rank}, at::kDouble);
    const cluster::KeyedRandom random(options.seed, "dictionary.init/test");
    for (std::int64_t i = 0; i < shape.rows; ++i) {
      for (std::int64_t j = 0; j < shape.width; ++j) a[j][i] = columns[i * shape.width + j];
      for (std::int64_t k = 0; k < shape.rank; ++k)
        g[i][k] = static_cast<float>(random.normal(i * shape.rank + k));
    }
  }

  at::Tensor inverse(const at::Tensor& gram_matrix) const {
    return at::linalg_inv(gram_matrix + ridge * at::eye(gram_matrix.size(0), at::kDouble));
  }

  void keep_largest_of_columns() {
    const auto order = g.abs().argsort(/*stable=*/true, /*dim=*/0, /*descending=*/true);
    g = at::zeros_like(g).scatter(0, order.slice(0, 0, kept), g.gather(0, order.slice(0, 0, kept)));
  }

  double iterate() {
    f = at::mm(at::mm(a, g), inverse(at::mm(g.t(), g)));
    const auto scale = g.norm(2, {0}).clamp_min(1e-8);
    g = g / scale;
    f = f * scale;
    g = at::mm(at::mm(a.t(), f), inverse(at::mm(f.t(), f)));
    keep_largest_of_columns();
    return (a - at::mm(f, g.t())).square().sum().item<double>();
  }
};

class AgainstReference : public ::testing::TestWithParam<Shape> {};

TEST_P(AgainstReference, SameObjectivesAndSupports) {
  const auto shape = GetParam();
  Options options;
  options.rank = shape.rank;
  options.density = shape.density;
  options.stop = "patience";
  options.tolerance = 0;
  options.max_iterations = 30;
  const auto columns = make_columns(shape.rows, shape.width);
  const auto fit = fit_of(columns, shape.width, options);
  ASSERT_EQ(fit.objective.size(), 30U);
  Reference reference(columns, shape, options);
  at::Tensor best_f, best_g;
  for (std::int64_t i = 0; i < 30; ++i) {
    const double expected = reference.iterate();
    EXPECT_NEAR(fit.objective[i], expected, 1e-6 * expected) << "iteration " << i;
    if (i == fit.best_iteration) std::tie(best_f, best_g) = std::tie(reference.f, reference.g);
  }
  const auto g = dense_coefficients(fit.factors);
  EXPECT_TRUE(at::equal(g != 0, best_g != 0));
  EXPECT_TRUE(at::allclose(g, best_g, 1e-3, 1e-4));
  EXPECT_TRUE(at::allclose(dense_features(fit.factors), best_f, 1e-3, 1e-3));
}

INSTANTIATE_TEST_SUITE_P(Shapes, AgainstReference,
                         ::testing::Values(Shape{200, 16, 8, 0.05}, Shape{431, 48, 20, 0.01},
                                           Shape{60, 80, 10, 0.2}, Shape{1500, 24, 4, 0.003},
                                           Shape{40, 12, 6, 0.5}));

TEST(Factorise, ReturnsTheFactorsOfTheBestIteration) {
  const auto columns = make_columns(300, 20);
  Options options;
  options.rank = 12;
  const auto fit = fit_of(columns, 20, options);
  const auto least = std::min_element(fit.objective.begin(), fit.objective.end());
  EXPECT_EQ(fit.best_iteration, least - fit.objective.begin());
  EXPECT_LT(*least, 0.95 * fit.objective.front());
  const auto a = at::from_blob(const_cast<float*>(columns.data()), {300, 20}).to(at::kDouble).t();
  const auto model = at::mm(dense_features(fit.factors), dense_coefficients(fit.factors).t());
  EXPECT_NEAR((a - model).square().sum().item<double>(), *least, 1e-4 * *least);
  EXPECT_EQ(fit.factors.tokens, make_tokens(300));
  EXPECT_EQ(fit.factors.per_feature(), 3);
  EXPECT_EQ(fit.stop_reason, "progress");
  EXPECT_EQ(fit.ridge, options.ridge);
}

TEST(Factorise, DependsOnSeedAndPurpose) {
  const auto columns = make_columns(100, 10);
  Options options;
  options.rank = 5;
  options.max_iterations = 1;
  const auto objective = fit_of(columns, 10, options).objective;
  EXPECT_EQ(fit_of(columns, 10, options).objective, objective);
  EXPECT_NE(factorise(columns, make_tokens(100), 10, options, "other").objective, objective);
  options.seed = 43;
  EXPECT_NE(fit_of(columns, 10, options).objective, objective);
}

TEST(Factorise, FewerTokensThanFeatures) {
  Options options;
  options.rank = 9;
  const auto fit = fit_of(make_columns(4, 6), 6, options);
  EXPECT_EQ(fit.factors.per_feature(), 1);
  EXPECT_LT(fit.objective[fit.best_iteration], fit.objective.front());
}

TEST(Factorise, OneFeatureOneToken) {
  Options options;
  options.rank = 1;
  const auto fit = fit_of({3, 4}, 2, options);
  const auto model = at::mm(dense_features(fit.factors), dense_coefficients(fit.factors).t());
  EXPECT_NEAR(model[0][0].item<double>(), 3, 1e-2);
  EXPECT_NEAR(model[1][0].item<double>(), 4, 1e-2);
}

TEST(Factorise, DuplicateAndZeroRows) {
  auto columns = make_columns(40, 8);
  std::copy_n(columns.begin(), 8, columns.begin() + 8 * 20);
  std::fill_n(columns.begin() + 8 * 5, 8, 0.0F);
  Options options;
  options.rank = 6;
  options.density = 0.1;
  const auto g = dense_coefficients(fit_of(columns, 8, options).factors);
  EXPECT_TRUE(at::isfinite(g).all().item<bool>());
  EXPECT_EQ(g[5].abs().sum().item<double>(), 0);
}

TEST(Factorise, NothingButZeros) {
  Options options;
  options.rank = 3;
  const auto fit = fit_of(std::vector<float>(5 * 4, 0), 4, options);
  EXPECT_EQ(fit.objective[fit.best_iteration], 0);
  EXPECT_EQ(fit.factors.rows.size(), 3U);
}

TEST(Factorise, RaisesTheRidgeOfASingularSystem) {
  Options options;
  options.rank = 6;
  options.density = 0.5;
  options.max_iterations = 10;
  options.ridge = 1e-8;  // three rows span no six features
  const auto fit = fit_of(make_columns(3, 12), 12, options);
  EXPECT_GT(fit.ridge, 5e-8);
  EXPECT_TRUE(std::isfinite(fit.objective.back()));
  options.ridge = 1e-14;
  EXPECT_THROW(fit_of(make_columns(3, 12), 12, options), DataError);
}

TEST(Factorise, NamesTheTokenOfANumberThatIsNotFinite) {
  auto columns = make_columns(30, 4);
  columns[11 * 4 + 2] = std::numeric_limits<float>::infinity();
  try {
    fit_of(columns, 4, {});
    FAIL() << "nothing thrown";
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("token 38, column 2"), std::string::npos)
        << error.what();
  }
}

TEST(Factorise, RefusesNoTokens) { EXPECT_THROW(fit_of({}, 4, {}), DataError); }

// What keep_largest makes of one column.
SparseColumns kept_of(const std::vector<float>& dense, std::int64_t entries, float hint = 0) {
  auto out = make_sparse_columns(1, entries);
  out.least_kept[0] = hint;
  keep_largest(dense, 0, out);
  return out;
}

TEST(KeepLargest, TiesGoToTheLowerRow) {
  const auto kept = kept_of({1, -2, 2, -0.5F, 2, 1, -2}, 3);
  EXPECT_EQ(kept.rows, (std::vector<std::int32_t>{1, 2, 4}));
  EXPECT_EQ(kept.values, (std::vector<float>{-2, 2, 2}));
  EXPECT_EQ(kept_of({0, 0, 0, 0}, 2).rows, (std::vector<std::int32_t>{0, 1}));
  EXPECT_EQ(kept_of({0, -0.0F, 3, 0}, 3).rows, (std::vector<std::int32_t>{0, 1, 2}));
}

TEST(KeepLargest, DoesNotDependOnTheHint) {
  const auto dense = make_columns(50, 10);
  const auto expected = kept_of(dense, 40);
  EXPECT_GT(expected.least_kept[0], 0);
  for (const float hint : {0.1F, expected.least_kept[0], 1.5F, 100.0F}) {
    const auto kept = kept_of(dense, 40, hint);
    EXPECT_EQ(kept.rows, expected.rows) << hint;
    EXPECT_EQ(kept.least_kept, expected.least_kept) << hint;
  }
}

TEST(KeptPerFeature, AsTheReferenceRounds) {
  EXPECT_EQ(kept_per_feature(4300, 0.01), 43);
  EXPECT_EQ(kept_per_feature(4301, 0.01), 44);
  EXPECT_EQ(kept_per_feature(50, 0.01), 1);
  EXPECT_EQ(kept_per_feature(5, 1.0), 5);
}

// Feeds a rule until it stops; the objectives must lead to a stop.
std::pair<std::string, std::size_t> stopped_at(const Options& options,
                                               const std::vector<double>& objectives) {
  StopRule rule(options);
  std::size_t done = 0;
  while (rule.reason().empty() && done < objectives.size()) rule.improves(objectives[done++]);
  return {rule.reason(), done};
}

TEST(StopRule, PatienceCountsFromTheLastImprovementAboveTheTolerance) {
  Options options;
  options.stop = "patience";
  options.patience = 3;
  options.tolerance = 0.5;
  EXPECT_EQ(stopped_at(options, {9, 8, 7.6, 7.7, 7.49, 7.2, 7.1, 7.0, 1}),
            (std::pair<std::string, std::size_t>{"patience", 8}));
  StopRule rule(options);
  for (const double objective : {9.0, 8.0, 7.6, 7.7, 7.49, 7.2}) rule.improves(objective);
  EXPECT_EQ(rule.best_iteration(), 4);
}

TEST(StopRule, ProgressLooksBackOverAWindowOfTheBest) {
  Options options;
  options.window = 2;
  options.progress = 0.1;
  EXPECT_EQ(stopped_at(options, {100, 95, 85, 90, 76, 75, 74, 10}),
            (std::pair<std::string, std::size_t>{"progress", 7}));
  EXPECT_EQ(stopped_at(options, {0, 0, 0, 0}),
            (std::pair<std::string, std::size_t>{"progress", 3}));
}

TEST(StopRule, IterationsAreLimited) {
  Options options;
  options.max_iterations = 4;
  EXPECT_EQ(stopped_at(options, {9, 8, 7, 6, 5, 4}),
            (std::pair<std::string, std::size_t>{"max_iterations", 4}));
}

}  // namespace
}  // namespace quench::dictionary
