#include "stages/activations/semi_nmf.hpp"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>
#include <mutex>

#include "cluster/collectives.hpp"
#include "cluster/error.hpp"
#include "cluster/partition.hpp"
#include "cluster/random.hpp"
#include "stages/activations/fit_record.hpp"
#include "stages/activations/sparse_features.hpp"
#include "tests/support/scratch_directory.hpp"

namespace quench::activations {
namespace {

// Heavy-tailed, of both signs, with common directions: as MLP activations are.
at::Tensor make_activations(std::int64_t width, std::int64_t positions) {
  const cluster::KeyedRandom random(7, "semi_nmf_test");
  const auto normals = [&](std::int64_t rows, std::int64_t columns, std::uint64_t from) {
    auto out = at::empty({rows, columns}, at::kDouble);
    for (std::int64_t i = 0; i < out.numel(); ++i)
      out.mutable_data_ptr<double>()[i] = random.normal(from + static_cast<std::uint64_t>(i));
    return out;
  };
  const auto directions = normals(width, 5, 0).pow(3), weights = normals(5, positions, 1 << 20);
  return (at::mm(directions, weights.clamp_min(0)) + 0.3 * normals(width, positions, 1 << 24))
      .to(at::kFloat)
      .contiguous();
}

Options small_options(std::int64_t rank = 6, std::int64_t iterations = 50) {
  Options options;
  options.rank = rank;
  options.density = 0.1;
  options.max_iterations = iterations;
  options.window = 1000;
  return options;
}

// The steps of methods 3.2, dense and in float64.
struct Reference {
  std::vector<double> objective;
  at::Tensor best_f, best_g;  // [width, K], [T, K]
};

Reference reference_of(const at::Tensor& activations, const Options& options) {
  const auto a = activations.to(at::kDouble);
  const auto width = a.size(0);
  const auto kept = std::max<std::int64_t>(
      1, static_cast<std::int64_t>(std::ceil(options.density * static_cast<double>(width))));
  auto g = initial_g(options, "test", 0, a.size(1)).t().to(at::kDouble);
  const auto positive = [](const at::Tensor& x) { return (x.abs() + x) / 2; };
  const auto negative = [](const at::Tensor& x) { return (x.abs() - x) / 2; };
  Reference out;
  for (std::int64_t i = 0; i < options.max_iterations; ++i) {
    const auto ridge = options.ridge * at::eye(options.rank, at::kDouble);
    auto f = at::mm(at::mm(a, g), at::linalg_inv(at::mm(g.t(), g) + ridge));
    const auto sorted = std::get<0>(f.abs().sort(0, true));
    f = f * f.abs().ge(sorted[kept - 1]);
    const auto scale = g.norm(2, {0}).clamp_min(1e-8);
    g = g / scale;
    f = f * scale;
    const auto p = at::mm(a.t(), f), q = at::mm(f.t(), f);
    g = g * ((positive(p) + at::mm(g, negative(q))) / (negative(p) + at::mm(g, positive(q)) + 1e-6))
                .sqrt();
    const auto residual = (a - at::mm(f, g.t())).square().sum().item<double>();
    if (out.objective.empty() || residual < *std::ranges::min_element(out.objective))
      out.best_f = f, out.best_g = g;
    out.objective.push_back(residual);
  }
  return out;
}

at::Tensor dense(const NeuronFeatures& features) {
  auto out = at::zeros({features.width, features.rank()}, at::kDouble);
  for (std::int64_t k = 0; k < features.rank(); ++k)
    for (auto e = features.offsets[k]; e < features.offsets[k + 1]; ++e)
      out[features.neurons[e]][k] = features.values[e];
  return out;
}

Positions share_of(const at::Tensor& activations, std::int64_t of_concept, int size, int rank) {
  const auto own = cluster::rows_of(activations.size(1), size, rank);
  return {activations.slice(1, own.begin, own.end).contiguous(), own.begin, activations.size(1),
          of_concept};
}

Fit fit_alone(const at::Tensor& activations, const Options& options, std::int64_t of_concept = 20) {
  const auto self = cluster::make_self_communicator();
  return factorise(share_of(activations, of_concept, 1, 0), options, "test", *self);
}

// On threads; every rank's fit is the same one.
Fit fit_on(int ranks, const at::Tensor& activations, const Options& options,
           const FitHooks& hooks = {}) {
  Fit out;
  std::mutex mutex;
  cluster::run_on_threads(ranks, [&](cluster::Communicator& comm) {
    at::set_num_threads(1);
    auto fit = factorise(share_of(activations, 20, comm.size(), comm.rank()), options, "test", comm,
                         hooks);
    const std::lock_guard lock(mutex);
    if (!out.objective.empty()) {
      EXPECT_EQ(out.objective, fit.objective);
    }
    out = std::move(fit);
  });
  return out;
}

void expect_near(const std::vector<double>& actual, const std::vector<double>& expected,
                 double relative) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(actual[i], expected[i], relative * std::abs(expected[i])) << "at " << i;
}

// Products are float32, and each processor sums them in an order of its own: after some
// multiplicative updates objectives differ by a few 1e-6 of theirs.
void expect_same(const Fit& actual, const Fit& expected) {
  expect_near(actual.objective, expected.objective, 1e-5);
  EXPECT_EQ(actual.best_iteration, expected.best_iteration);
  EXPECT_EQ(actual.stop_reason, expected.stop_reason);
  EXPECT_EQ(actual.features.offsets, expected.features.offsets);
  EXPECT_EQ(actual.features.neurons, expected.features.neurons);
  expect_near(actual.features.mean_concept, expected.features.mean_concept, 1e-3);
  expect_near(actual.features.ratio, expected.features.ratio, 1e-3);
}

TEST(SemiNmf, IsTheReferencesIteration) {
  for (const std::int64_t width : {60, 300}) {
    const auto activations = make_activations(width, 90);
    auto options = small_options();
    options.save_g = true;
    const auto expected = reference_of(activations, options);
    const auto fit = fit_alone(activations, options);
    expect_near(fit.objective, expected.objective, 1e-6);
    const auto f = dense(fit.features);
    EXPECT_TRUE(at::equal(f.ne(0), expected.best_f.ne(0)));
    EXPECT_TRUE(at::allclose(f, expected.best_f, 1e-3, 1e-4));
    const auto g = at::tensor(at::ArrayRef<float>(fit.g), at::kDouble).view({90, 6});
    EXPECT_TRUE(at::allclose(g, expected.best_g, 1e-3, 1e-4));
    EXPECT_GE(g.min().item<double>(), 0);
    EXPECT_EQ(fit.stop_reason, "max_iterations");
    // The objective is that of what is returned.
    const auto residual = (activations.to(at::kDouble) - at::mm(f, g.t())).square().sum();
    const double best = fit.objective.at(fit.best_iteration);
    EXPECT_NEAR(residual.item<double>(), best, 1e-6 * best);
    EXPECT_EQ(best, *std::ranges::min_element(fit.objective));
  }
}

TEST(SemiNmf, StatisticsAreMeansOfG) {
  auto options = small_options();
  options.save_g = true;
  const auto fit = fit_on(3, make_activations(60, 91), options);
  const auto g = at::tensor(at::ArrayRef<float>(fit.g), at::kDouble).view({91, 6});
  for (std::int64_t k = 0; k < 6; ++k) {
    const auto own = g.slice(0, 0, 20).select(1, k).mean().item<double>();
    const auto neutral = g.slice(0, 20).select(1, k).mean().item<double>();
    EXPECT_NEAR(fit.features.mean_concept[k], own, 1e-9);
    EXPECT_NEAR(fit.features.mean_neutral[k], neutral, 1e-9);
    EXPECT_NEAR(fit.features.ratio[k], own / (neutral + 1e-8), 1e-6 * fit.features.ratio[k]);
  }
  EXPECT_EQ(fit.positions, 91);
  EXPECT_EQ(fit.concept_positions, 20);
}

TEST(SemiNmf, TheSameOnAnyNumberOfRanks) {
  const auto activations = make_activations(120, 83);
  const auto alone = fit_alone(activations, small_options());
  for (const int ranks : {1, 2, 3, 4})
    expect_same(fit_on(ranks, activations, small_options()), alone);
}

TEST(SemiNmf, MoreRanksThanPositions) {
  const auto activations = make_activations(30, 2);
  const auto alone = fit_alone(activations, small_options(1), 1);
  const auto shared = fit_on(4, activations, small_options(1));
  expect_near(shared.objective, alone.objective, 1e-5);
}

TEST(SemiNmf, OneFeature) {
  const auto activations = make_activations(60, 90);
  const auto options = small_options(1);
  expect_near(fit_alone(activations, options).objective,
              reference_of(activations, options).objective, 1e-6);
}

TEST(SemiNmf, MoreFeaturesThanNeurons) {
  const auto activations = make_activations(8, 90);
  auto options = small_options(12, 5);
  options.density = 0.3;
  expect_near(fit_alone(activations, options).objective,
              reference_of(activations, options).objective, 1e-5);
}

TEST(SemiNmf, FewerPositionsThanFeatures) {
  const auto activations = make_activations(60, 4);
  auto options = small_options(9);
  options.ridge = 0.1;
  expect_near(fit_alone(activations, options, 2).objective,
              reference_of(activations, options).objective, 1e-6);
  // With little ridge F is what rounding makes of it, and still it gets better.
  options.ridge = 1e-4;
  const auto fit = fit_on(3, activations, options);
  EXPECT_EQ(fit.ridge, options.ridge);
  EXPECT_LT(fit.objective.at(fit.best_iteration), fit.objective.front());
}

TEST(SemiNmf, SilentNeuronsAndPositions) {
  auto activations = make_activations(60, 90);
  activations.slice(0, 10, 20).zero_();
  activations.slice(1, 30, 50).zero_();
  const auto fit = fit_alone(activations, small_options());
  expect_near(fit.objective, reference_of(activations, small_options()).objective, 1e-6);
  for (const auto neuron : fit.features.neurons) EXPECT_TRUE(neuron < 10 || neuron >= 20);
}

TEST(SemiNmf, NothingFires) {
  auto options = small_options();
  options.window = 3;
  const auto fit = fit_alone(at::zeros({60, 40}), options);
  EXPECT_EQ(fit.objective, std::vector<double>(4, 0));
  EXPECT_EQ(fit.stop_reason, "progress");
  EXPECT_EQ(fit.features.rank(), 6);
  EXPECT_TRUE(fit.features.neurons.empty());
}

TEST(SemiNmf, NoPositionsAndNoNumbersAreRefused) {
  EXPECT_THROW(fit_alone(at::zeros({60, 0}), small_options(), 0), DataError);
  auto activations = make_activations(60, 40);
  activations[3][4] = std::nan("");
  EXPECT_THROW(fit_alone(activations, small_options()), DataError);
}

TEST(SemiNmf, StoppedItGoesOnUnderAnotherNumberOfRanks) {
  const auto activations = make_activations(60, 90);
  const auto whole = fit_alone(activations, small_options());
  FitState state;
  std::mutex mutex;
  FitHooks hooks;
  int asked = 0;
  hooks.stop = [&] {
    const std::lock_guard lock(mutex);
    return ++asked > 40;  // of two ranks: in iteration 21
  };
  hooks.save = [&](const FitState& now) {
    const std::lock_guard lock(mutex);
    state = now;
  };
  EXPECT_THROW(fit_on(2, activations, small_options(), hooks), Stopped);
  ASSERT_EQ(state.objective.size(), 21);
  const testing::ScratchDirectory directory;
  save_state(directory / "fit", state);
  const auto loaded = load_state(directory / "fit");
  ASSERT_TRUE(loaded);
  FitHooks resumed;
  resumed.resume = &*loaded;
  expect_same(fit_on(3, activations, small_options(), resumed), whole);
}

TEST(SemiNmf, InitialCoefficientsAreKeyedByRow) {
  const auto options = small_options();
  const auto all = initial_g(options, "test", 0, 50);
  EXPECT_TRUE(at::equal(initial_g(options, "test", 13, 20), all.slice(1, 13, 33)));
  EXPECT_FALSE(at::equal(initial_g(options, "other", 0, 50), all));
  EXPECT_GE(all.min().item<float>(), 1e-6F);
  EXPECT_LE(all.max().item<float>(), 1);
}

TEST(SparseFeatures, TiesAreKeptAndZerosAreNot) {
  const auto features = at::tensor({3.0, -2.0, 2.0, 1.0, 0.0,  //
                                    0.0, 0.0, 0.0, -5.0, 0.0})
                            .view({2, 5});
  const auto kept = keep_largest(features, 2, at::tensor({1.0, 0.5}, at::kDouble));
  EXPECT_EQ(kept.width, 5);
  EXPECT_EQ(kept.offsets, (std::vector<std::int64_t>{0, 3, 4}));
  EXPECT_EQ(kept.neurons, (std::vector<std::int32_t>{0, 1, 2, 3}));
  EXPECT_EQ(kept.values, (std::vector<float>{3, -2, 2, -2.5F}));
}

TEST(SparseFeatures, ProductsAreThoseOfTheDenseOnes) {
  const auto activations = make_activations(70, 2500);  // blocks, the last one shorter
  const auto features = keep_largest(make_activations(70, 4).t().to(at::kDouble).contiguous(), 9,
                                     at::ones({4}, at::kDouble));
  const auto expected = at::mm(dense(features).t(), activations.to(at::kDouble));
  EXPECT_TRUE(at::allclose(product(features, activations).to(at::kDouble), expected, 1e-5, 1e-4));
  EXPECT_TRUE(at::allclose(gram_of(features), at::mm(dense(features).t(), dense(features))));
}

TEST(SparseFeatures, KeptPerFeature) {
  EXPECT_EQ(kept_per_feature(9216, 0.01), 93);
  EXPECT_EQ(kept_per_feature(14336, 0.01), 144);
  EXPECT_EQ(kept_per_feature(20, 0.01), 1);
  EXPECT_EQ(kept_per_feature(20, 1), 20);
}

TEST(ActivationFitRecord, RoundTrip) {
  auto options = small_options();
  options.save_g = true;
  const auto fit = fit_alone(make_activations(60, 90), options);
  const auto copy = unpack(pack(fit));
  expect_same(copy, fit);
  EXPECT_EQ(copy.features.values, fit.features.values);
  EXPECT_EQ(copy.features.width, 60);
  EXPECT_EQ(copy.g, fit.g);
  EXPECT_EQ(copy.positions, 90);
  EXPECT_THROW(unpack(pack(fit).substr(0, 100)), DataError);
}

}  // namespace
}  // namespace quench::activations
