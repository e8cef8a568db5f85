#include "stages/dictionary/factorise.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "cluster/error.hpp"
#include "stages/dictionary/device_winners.hpp"
#include "stages/dictionary/projection.hpp"
#include "stages/dictionary/sparse_columns.hpp"
#include "stages/dictionary/winners.hpp"
#include "tests/support/counted_reads.hpp"
#include "tests/support/reference_factorisation.hpp"
#include "tests/unit/small_fits.hpp"

namespace quench::dictionary {
namespace {

struct Shape {
  std::int64_t rows, width, rank;
  double density;
};

struct Case {
  Shape shape;
  std::string form;
};

class AgainstReference : public ::testing::TestWithParam<Case> {};

// float32 products leave 1e-6 of the objective; that is also what the method notes report.
TEST_P(AgainstReference, SameObjectivesAndSupports) {
  constexpr std::int64_t iterations = 50;
  const auto& [shape, form] = GetParam();
  Options options;
  options.rank = shape.rank;
  options.density = shape.density;
  options.stop = "patience";
  options.tolerance = 0;
  options.max_iterations = iterations;
  const auto columns = make_columns(shape.rows, shape.width);
  const auto fit = fit_of_form(columns, shape.width, options, form);
  EXPECT_EQ(fit.form, form);
  ASSERT_EQ(std::ssize(fit.objective), iterations);
  ReferenceFactorisation reference(columns, shape.width, options,
                                   normal_initial(options, "test")(0, shape.rows));
  at::Tensor best_f, best_g;
  for (std::int64_t i = 0; i < iterations; ++i) {
    const double expected = reference.iterate();
    EXPECT_NEAR(fit.objective[i], expected, 1e-6 * expected) << "iteration " << i;
    if (i == fit.best_iteration) std::tie(best_f, best_g) = std::tie(reference.f, reference.g);
  }
  const auto g = dense_coefficients(fit.factors);
  EXPECT_TRUE(at::equal(g != 0, best_g != 0));
  EXPECT_TRUE(at::allclose(g, best_g, 1e-3, 1e-4));
  EXPECT_TRUE(at::allclose(dense_features(fit.factors), best_f, 1e-3, 1e-3));
}

std::vector<Case> cases() {
  std::vector<Case> out;
  for (const std::string form : {"bounded", "streamed", "device"})
    for (const auto& shape :
         {Shape{200, 16, 8, 0.05}, Shape{431, 48, 20, 0.01}, Shape{60, 80, 10, 0.2},
          Shape{1500, 24, 4, 0.003}, Shape{40, 12, 6, 0.5}, Shape{700, 16, 24, 0.02},
          Shape{132, 64, 140, 0.05}})
      out.push_back({shape, form});
  for (const auto& shape :
       {Shape{1500, 24, 4, 0.003}, Shape{1100, 48, 20, 0.02}, Shape{2000, 70, 60, 0.01}})
    out.push_back({shape, "gram"});
  return out;
}

INSTANTIATE_TEST_SUITE_P(Shapes, AgainstReference, ::testing::ValuesIn(cases()),
                         [](const auto& given) {
                           return given.param.form + "_" + std::to_string(given.param.shape.rows) +
                                  "_" + std::to_string(given.param.shape.rank);
                         });

class Sharded : public ::testing::TestWithParam<std::tuple<int, std::string>> {};

TEST_P(Sharded, SameFitOnAnyNumberOfRanks) {
  const int ranks = std::get<0>(GetParam());
  const std::string& form = std::get<1>(GetParam());
  Options options;
  options.rank = 12;
  options.density = 0.03;
  options.max_iterations = 30;
  for (const std::int64_t rows : {530, 3}) {  // of 3, some ranks have none
    if (rows == 3) options.rank = 2;
    const auto columns = make_columns(rows, 20);
    const auto expected = fit_of(columns, 20, options);
    cluster::run_on_threads(ranks, [&](cluster::Communicator& group) {
      expect_same_fit(fit_in_form(group, columns, 20, options, form), expected, group.rank());
    });
  }
}

INSTANTIATE_TEST_SUITE_P(Ranks, Sharded,
                         ::testing::Combine(::testing::Values(1, 2, 3, 4),
                                            ::testing::Values("bounded", "streamed", "device")));

// A rank of small rows, as a vocabulary's unused tokens are, must not open the others' doors: what
// passes is of the order of what is kept, or memory would go with n x K.
TEST(Streamed, FewCandidatesHoweverRowsAreDistributed) {
  constexpr std::int64_t rows = 6000, width = 24, rank = 6, kept = 120;
  const auto solver = at::randn({rank, width}, at::make_generator<at::CPUGeneratorImpl>(5));
  cluster::run_on_threads(3, [&](cluster::Communicator& group) {
    auto columns = make_columns(rows, width);
    if (group.rank() > 0)
      for (auto& x : columns) x *= 1e-4F;
    std::vector<std::int32_t> tokens(rows);
    std::iota(tokens.begin(), tokens.end(), 0);
    const Rows own(columns, tokens, width, 1);
    const auto projection = make_streamed_projection(own, rank, kept, group);
    const auto& candidates = projection->screen(solver, {});
    for (const auto& passed : candidates.rows) {
      if (group.rank() == 0) {
        EXPECT_GE(std::ssize(passed), kept);
        EXPECT_LE(std::ssize(passed), 4 * kept);
      } else {
        EXPECT_TRUE(passed.empty());
      }
    }
    EXPECT_EQ(projection->share_computed(), 1);  // no second pass
  });
}

// Large rows at the very distance that samples have: not all samples may be of them.
TEST(Streamed, RowsInAPatternDoNotFoolTheSample) {
  constexpr std::int64_t rows = 32768, width = 8, rank = 4, kept = 328;
  const auto solver = at::randn({rank, width}, at::make_generator<at::CPUGeneratorImpl>(5));
  for (const float others : {100.0F, 0.01F}) {
    auto columns = make_columns(rows, width);
    for (std::int64_t i = 0; i < rows; i += 32)
      for (std::int64_t j = 0; j < width; ++j) columns[i * width + j] *= others;
    std::vector<std::int32_t> tokens(rows);
    std::iota(tokens.begin(), tokens.end(), 0);
    const Rows all(columns, tokens, width, 1);
    const auto self = cluster::make_self_communicator();
    const auto projection = make_streamed_projection(all, rank, kept, *self);
    for (const auto& passed : projection->screen(solver, {}).rows) {
      EXPECT_GE(std::ssize(passed), kept);
      EXPECT_LE(std::ssize(passed), 4 * kept);
    }
    EXPECT_EQ(projection->share_computed(), 1);
  }
}

TEST(Factorise, FormsAgree) {
  const auto columns = make_columns(2000, 40);
  Options options;
  options.rank = 30;
  options.form = "bounded";
  const auto bounded = fit_of(columns, 40, options);
  options.form = "streamed";
  expect_same_fit(bounded, fit_of(columns, 40, options));
  EXPECT_LT(bounded.share_computed, 0.9);
  // Its rounding is another one, and sooner or later two of these entries are as good as equal.
  options.form = "gram";
  options.max_iterations = 12;
  const auto gram = fit_of(columns, 40, options);
  options.form = "bounded";
  expect_same_fit(gram, fit_of(columns, 40, options));
}

// With K > d the objective is made otherwise: a difference of numbers that are far larger than it.
TEST(Factorise, ObjectiveOfMoreFeaturesThanDimensions) {
  constexpr std::int64_t rows = 200, width = 12;
  Options options;
  options.rank = 64;
  options.density = 0.3;
  options.max_iterations = 5;
  const auto columns = make_columns(rows, width);
  for (const auto* form : {"bounded", "streamed", "device"}) {
    ReferenceFactorisation reference(columns, width, options,
                                     normal_initial(options, "test")(0, rows));
    for (const double objective : fit_of_form(columns, width, options, form).objective) {
      const double expected = reference.iterate();
      EXPECT_NEAR(objective, expected, 1e-6 * expected) << form;
    }
  }
}

TEST(Factorise, HalvesLoseNothing) {
  auto columns = make_columns(300, 20);
  for (auto& value : columns)
    value = std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) & 0xffff0000U);
  Options options;
  options.rank = 12;
  const auto halves = fit_of(columns, 20, options);
  auto wider = columns;  // a row of zeros but for a number that is no bfloat16
  wider.resize(columns.size() + 20, 0);
  wider.back() = 1e-30F;
  EXPECT_TRUE(Rows(columns, make_tokens(300), 20, 1).halved());
  EXPECT_FALSE(Rows(wider, make_tokens(301), 20, 1).halved());
  options.density = 3.0 / 301;
  const auto floats = fit_of(wider, 20, options);
  EXPECT_NEAR(halves.objective.back(), floats.objective.back(), 0.2 * halves.objective.back());
  std::vector<float> copied(columns.size());
  Rows(columns, make_tokens(300), 20, 1).copy(0, 300, copied.data());
  EXPECT_EQ(copied, columns);
}

class OnProcessorOrDevice : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Factorise, OnProcessorOrDevice,
                         ::testing::Values("bounded", "streamed", "device"));

// Numbers that are finite, and whose sums in float32 are not. A device sums in float64.
TEST(Factorise, TellsOfAnOverflow) {
  auto columns = make_columns(1100, 8);
  for (std::size_t i = 0; i < columns.size(); i += 8) columns[i] = 3e38F;
  for (const auto* form : {"bounded", "streamed", "gram"})
    for (const std::int64_t rank : {1, 4}) {
      Options options;
      options.rank = rank;
      try {
        fit_of_form(columns, 8, options, form);
        ADD_FAILURE() << form << " " << rank;
      } catch (const DataError& error) {
        EXPECT_NE(std::string(error.what()).find("overflows"), std::string::npos) << error.what();
      }
    }
}

// Iterations beyond the last one, which were enqueued with it, leave no trace.
TEST_P(OnProcessorOrDevice, EndsWhereTheRuleDoes) {
  const auto columns = make_columns(400, 24);
  Options options;
  options.rank = 10;
  for (const std::int64_t most : {1, 7, 8, 9, 20000})
    for (const std::string rule : {"progress", "patience"}) {
      options.max_iterations = most;
      options.stop = rule;
      options.patience = 6;
      options.tolerance = 5;
      const auto expected = fit_of(columns, 24, options);
      const auto fit = fit_of_form(columns, 24, options, GetParam());
      EXPECT_EQ(fit.stop_reason, most < 10 ? "max_iterations" : rule);
      EXPECT_EQ(fit.best_iteration, expected.best_iteration);
      EXPECT_TRUE(most < 10 || fit.objective.size() % 8 != 0);  // or this would show little
      expect_same_fit(fit, expected);
    }
}

// The numbers and lists that a device would have to be waited for are as many in a few iterations
// as in all that the host does not look into.
TEST(Factorise, ADeviceIsNotWaitedForBetweenLooks) {
  const auto columns = make_columns(60, 8);
  Options options;
  options.rank = 4;
  options.density = 0.1;
  options.stop = "patience";
  const auto reads_of = [&](std::int64_t iterations) {
    options.max_iterations = iterations;
    const testing::CountedReads reads;
    fit_of_form(columns, 8, options, "device");
    return reads.count();
  };
  const auto few = reads_of(2);
  EXPECT_GT(few, 0);
  EXPECT_EQ(reads_of(32), few);
  options.rank = 12;  // more features than dimensions
  EXPECT_EQ(reads_of(8), reads_of(2));
}

TEST(NormalInitial, IsOneStreamOfNormalNumbers) {
  Options options;
  options.rank = 7;
  const auto initial = normal_initial(options, "test");
  const auto whole = initial(0, 5000);
  EXPECT_TRUE(at::equal(initial(13, 29), whole.slice(0, 13, 42)));
  EXPECT_NEAR(whole.mean().item<double>(), 0, 0.02);  // n = 35,000: four standard errors
  EXPECT_NEAR(whole.var().item<double>(), 1, 0.03);
  EXPECT_NEAR(whole.pow(4).mean().item<double>(), 3, 0.21);
  const auto flat = whole.flatten();
  const auto next = (flat.slice(0, 0, -1) * flat.slice(0, 1)).mean().item<double>();
  EXPECT_NEAR(next, 0, 0.022);
}

TEST(Factorise, SingularVectorsAreAStart) {
  const auto columns = make_columns(200, 12);
  Options options;
  options.rank = 7;  // as many as the rows have topics
  options.max_iterations = 1;
  const auto normal = fit_of(columns, 12, options);
  options.init = "svd";
  const auto svd = fit_of(columns, 12, options);
  EXPECT_LT(svd.objective[0], normal.objective[0]);
  options.rank = 15;  // more than there are singular vectors
  options.max_iterations = 3;
  EXPECT_TRUE(std::isfinite(fit_of(columns, 12, options).objective.back()));
}

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
  const auto self = cluster::make_self_communicator();
  EXPECT_NE(fit_in(*self, columns, 10, options, {}, "other").objective, objective);
  options.seed = 43;
  EXPECT_NE(fit_of(columns, 10, options).objective, objective);
}

TEST_P(OnProcessorOrDevice, FewerTokensThanFeatures) {
  Options options;
  options.rank = 9;
  const auto fit = fit_of_form(make_columns(4, 6), 6, options, GetParam());
  EXPECT_EQ(fit.factors.per_feature(), 1);
  EXPECT_LT(fit.objective[fit.best_iteration], fit.objective.front());
}

TEST_P(OnProcessorOrDevice, OneFeatureOneToken) {
  Options options;
  options.rank = 1;
  const auto fit = fit_of_form({3, 4}, 2, options, GetParam());
  const auto model = at::mm(dense_features(fit.factors), dense_coefficients(fit.factors).t());
  EXPECT_NEAR(model[0][0].item<double>(), 3, 1e-2);
  EXPECT_NEAR(model[1][0].item<double>(), 4, 1e-2);
}

TEST_P(OnProcessorOrDevice, DuplicateAndZeroRows) {
  auto columns = make_columns(40, 8);
  std::copy_n(columns.begin(), 8, columns.begin() + 8 * 20);
  std::fill_n(columns.begin() + 8 * 5, 8, 0.0F);
  Options options;
  options.rank = 6;
  options.density = 0.1;
  const auto g = dense_coefficients(fit_of_form(columns, 8, options, GetParam()).factors);
  EXPECT_TRUE(at::isfinite(g).all().item<bool>());
  EXPECT_EQ(g[5].abs().sum().item<double>(), 0);
}

TEST_P(OnProcessorOrDevice, NothingButZeros) {
  Options options;
  options.rank = 3;
  const auto fit = fit_of_form(std::vector<float>(5 * 4, 0), 4, options, GetParam());
  EXPECT_EQ(fit.objective[fit.best_iteration], 0);
  EXPECT_EQ(fit.factors.rows.size(), 3U);
}

TEST_P(OnProcessorOrDevice, RaisesTheRidgeOfASingularSystem) {
  Options options;
  options.rank = 6;
  options.density = 0.5;
  options.max_iterations = 10;
  options.ridge = 1e-17;  // three rows span no six features
  const auto fit = fit_of_form(make_columns(3, 12), 12, options, GetParam());
  EXPECT_GT(fit.ridge, 5e-17);
  EXPECT_TRUE(std::isfinite(fit.objective.back()));
  FitState saved;
  int asked = 0;
  FitHooks hooks;
  hooks.stop = [&] { return ++asked == 1; };  // before a step that is to be made again
  hooks.save = [&](const FitState& state) { saved = state; };
  EXPECT_THROW(fit_in_form(*cluster::make_self_communicator(), make_columns(3, 12), 12, options,
                           GetParam(), hooks),
               Stopped);
  EXPECT_EQ(saved.objective.size(), 1U);
  FitHooks resumed;
  resumed.resume = [&] { return saved; };
  const auto gone_on = fit_in_form(*cluster::make_self_communicator(), make_columns(3, 12), 12,
                                   options, GetParam(), resumed);
  EXPECT_EQ(gone_on.objective.size(), fit.objective.size());
  EXPECT_EQ(gone_on.ridge, fit.ridge);
  saved.ridge = 0.5;  // which need not be raised
  EXPECT_EQ(fit_in_form(*cluster::make_self_communicator(), make_columns(3, 12), 12, options,
                        GetParam(), resumed)
                .ridge,
            0.5);
  options.ridge = 1e-25;
  EXPECT_THROW(fit_of_form(make_columns(3, 12), 12, options, GetParam()), DataError);
}

// As rows of float32 and of bfloat16, which have products of their own, and for every form.
class HostileRows : public ::testing::TestWithParam<std::tuple<std::string, bool>> {
 protected:
  static constexpr std::int64_t rows = 1100, width = 24;  // gram wants 1,024 and more
  static std::string form() { return std::get<0>(GetParam()); }
  static std::vector<float> stored(std::vector<float> values) {
    if (std::get<1>(GetParam()))
      for (auto& x : values)
        x = std::bit_cast<float>(std::bit_cast<std::uint32_t>(x) & 0xffff0000U);
    return values;
  }
  static Options options_of(std::int64_t rank) {
    Options options;
    options.rank = rank;
    options.density = 0.02;
    options.stop = "patience";
    options.tolerance = 0;
    options.max_iterations = 12;
    return options;
  }
  static void expect_whole(const Fit& fit, std::int64_t kept) {
    ASSERT_EQ(fit.factors.per_feature(), kept);
    for (std::int64_t k = 0; k < fit.factors.rank; ++k)
      for (std::int64_t i = k * kept + 1; i < (k + 1) * kept; ++i)
        EXPECT_LT(fit.factors.rows[i - 1], fit.factors.rows[i]);
    for (const auto* all : {&fit.factors.coefficients, &fit.factors.features})
      EXPECT_TRUE(std::ranges::all_of(*all, [](float x) { return std::isfinite(x); }));
    for (const double x : fit.objective) EXPECT_TRUE(std::isfinite(x));
  }
};
INSTANTIATE_TEST_SUITE_P(Forms, HostileRows,
                         ::testing::Combine(::testing::Values("bounded", "streamed", "gram",
                                                              "device"),
                                            ::testing::Bool()));

// A dimension that is the same for all tokens, one that is zero, and zero rows; K = 1 too.
TEST_P(HostileRows, ConstantAndZeroColumns) {
  auto columns = make_columns(rows, width);
  for (std::int64_t i = 0; i < rows; ++i) {
    columns[i * width] = 2.5F;
    columns[i * width + 1] = 0;
    if (i % 50 == 5) std::fill_n(columns.begin() + i * width, width, 0.0F);
  }
  columns = stored(columns);
  for (const std::int64_t rank : {1, 12}) {
    const auto options = options_of(rank);
    const auto fit = fit_of_form(columns, width, options, form());
    EXPECT_EQ(fit.form, form());
    ReferenceFactorisation reference(columns, width, options,
                                     normal_initial(options, "test")(0, rows));
    // In gram's rounding another of two entries wins that are as good as equal.
    const double tolerance = form() == "gram" ? 1e-5 : 1e-6;
    for (const double objective : fit.objective) {
      const double expected = reference.iterate();
      EXPECT_NEAR(objective, expected, tolerance * expected);
    }
    const auto g = dense_coefficients(fit.factors);
    for (std::int64_t i = 5; i < rows; i += 50) EXPECT_EQ(g[i].abs().sum().item<double>(), 0);
  }
}

TEST_P(HostileRows, FewDifferentRowsOrOne) {
  for (const std::int64_t different : {3, 1}) {
    const auto some = make_columns(different, width);
    std::vector<float> columns;
    for (std::int64_t i = 0; i < rows; ++i)
      columns.insert(columns.end(), some.begin() + i % different * width,
                     some.begin() + (i % different + 1) * width);
    expect_whole(fit_of_form(stored(columns), width, options_of(6), form()), 22);
  }
}

TEST_P(HostileRows, NothingButZerosAndOneEntry) {
  auto options = options_of(6);
  const auto zeros = fit_of_form(std::vector<float>(rows * width, 0), width, options, form());
  EXPECT_EQ(zeros.objective.back(), 0);
  expect_whole(zeros, 22);
  options.density = 1e-9;  // m = 1
  expect_whole(fit_of_form(stored(make_columns(rows, width)), width, options, form()), 1);
}

TEST(Factorise, GramRaisesTheRidgeOfASingularSystem) {
  const auto columns = make_columns(1024, 24);
  const auto tokens = make_tokens(1024);
  const Shard shard{Rows(columns, tokens, 24, 1), 0, 1024, {}, nullptr};
  Options options;
  options.rank = 3;
  options.form = "gram";
  options.max_iterations = 1;
  const InitialRows ones = [](std::int64_t, std::int64_t n) { return at::ones({n, 3}); };
  const auto self = cluster::make_self_communicator();
  options.ridge = 1e-13;  // G_0^T G_0 is 1,024 everywhere, without rounding
  const auto fit = factorise(shard, ones, options, *self);
  EXPECT_EQ(fit.form, "gram");
  EXPECT_GT(fit.ridge, 5e-13);
  EXPECT_TRUE(std::isfinite(fit.objective.back()));
  options.ridge = 1e-300;
  EXPECT_THROW(factorise(shard, ones, options, *self), DataError);
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

// What is kept of one column whose rows are shared out over `ranks`; global rows.
std::vector<std::int32_t> kept_of(const std::vector<float>& dense, std::int64_t kept, int ranks) {
  std::vector<std::vector<std::int32_t>> parts(ranks);
  cluster::run_on_threads(ranks, [&](cluster::Communicator& comm) {
    const auto own = cluster::rows_of(std::ssize(dense), comm.size(), comm.rank());
    Candidates candidates(1);
    for (auto r = own.begin; r < own.end; ++r) {
      candidates.rows[0].push_back(static_cast<std::int32_t>(r - own.begin));
      candidates.values[0].push_back(dense[r]);
    }
    const auto out = keep_largest(candidates, kept, comm);
    for (std::size_t i = 0; i < out.rows.size(); ++i) {
      EXPECT_EQ(out.values[i], dense[own.begin + out.rows[i]]);
      parts[comm.rank()].push_back(static_cast<std::int32_t>(own.begin) + out.rows[i]);
    }
  });
  std::vector<std::int32_t> all;
  for (const auto& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

TEST(KeepLargest, TiesGoToTheLowerRow) {
  using Rows32 = std::vector<std::int32_t>;
  for (const int ranks : {1, 2, 3, 9}) {
    EXPECT_EQ(kept_of({1, -2, 2, -0.5F, 2, 1, -2}, 3, ranks), (Rows32{1, 2, 4}));
    EXPECT_EQ(kept_of({0, 0, 0, 0}, 2, ranks), (Rows32{0, 1}));
    EXPECT_EQ(kept_of({0, -0.0F, 3, 0}, 3, ranks), (Rows32{0, 1, 2}));
    EXPECT_EQ(kept_of({5, 5, 5, 7, 5, 5}, 4, ranks), (Rows32{0, 1, 2, 3}));
  }
}

TEST(Candidates, KeepsTheLargestAndTheLowerOfTies) {
  Candidates candidates(2);
  candidates.rows[1] = {3, 4, 6, 7, 9};
  candidates.values[1] = {-2, 1, 5, -2, 2};
  candidates.keep_most(1, 5);
  EXPECT_EQ(candidates.rows[1].size(), 5U);
  candidates.keep_most(1, 3);
  EXPECT_EQ(candidates.rows[1], (std::vector<std::int32_t>{3, 6, 7}));
  EXPECT_EQ(candidates.values[1], (std::vector<float>{-2, 5, -2}));
}

TEST(KeepLargest, IsTheSortOfAllRanks) {
  const auto dense = make_columns(97, 10);
  std::vector<std::int32_t> order(dense.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](auto a, auto b) { return std::abs(dense[a]) > std::abs(dense[b]); });
  order.resize(40);
  std::sort(order.begin(), order.end());
  for (const int ranks : {1, 2, 4}) EXPECT_EQ(kept_of(dense, 40, ranks), order);
}

// The same on the CPU as a device.
std::vector<std::int32_t> kept_on_device(const std::vector<float>& dense, std::int64_t kept,
                                         int ranks) {
  std::vector<std::vector<std::int32_t>> parts(ranks);
  const auto all_rows = at::tensor(at::ArrayRef<float>(dense), at::kFloat).view({-1, 1});
  cluster::run_on_threads(ranks, [&](cluster::Communicator& comm) {
    const auto own = cluster::rows_of(std::ssize(dense), comm.size(), comm.rank());
    const auto entries = keep_largest(all_rows.slice(0, own.begin, own.end), at::ones({1, 1}),
                                      own.begin, kept, comm);
    for (std::int64_t i = 0; i < entries.rows.size(1); ++i) {
      const auto row = own.begin + entries.rows[0][i].item<std::int64_t>();
      const auto value = entries.values[0][i].item<float>();
      if (!entries.won[0][i].item<bool>()) {
        EXPECT_EQ(value, 0);
        continue;
      }
      EXPECT_EQ(value, dense[row]);
      EXPECT_GE(std::abs(value), entries.least[0].item<float>());
      parts[comm.rank()].push_back(static_cast<std::int32_t>(row));
    }
  });
  std::vector<std::int32_t> out;
  for (const auto& part : parts) out.insert(out.end(), part.begin(), part.end());
  std::ranges::sort(out);
  return out;
}

TEST(KeepLargest, OnADeviceTheSame) {
  const std::vector<float> tied{5, 5, 5, 7, 5, -5}, zeros{0, -0.0F, 3, 0, 0};
  const auto dense = make_columns(97, 10);
  for (const int ranks : {1, 2, 3, 9}) {
    EXPECT_EQ(kept_on_device(tied, 4, ranks), kept_of(tied, 4, ranks));
    EXPECT_EQ(kept_on_device(zeros, 3, ranks), kept_of(zeros, 3, ranks));
    EXPECT_EQ(kept_on_device(dense, 40, ranks), kept_of(dense, 40, ranks));
  }
}

TEST(KeptPerFeature, AsTheReferenceRounds) {
  EXPECT_EQ(kept_per_feature(4300, 0.01), 43);
  EXPECT_EQ(kept_per_feature(4301, 0.01), 44);
  EXPECT_EQ(kept_per_feature(50, 0.01), 1);
  EXPECT_EQ(kept_per_feature(5, 1.0), 5);
}

}  // namespace
}  // namespace quench::dictionary
