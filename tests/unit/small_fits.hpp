#pragma once

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "cluster/partition.hpp"
#include "cluster/random.hpp"
#include "stages/dictionary/factorise.hpp"

// Small factorisations, and how they are compared.
namespace quench::dictionary {

// Rows near a few common directions, as embeddings are.
inline std::vector<float> make_columns(std::int64_t rows, std::int64_t width) {
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

inline std::vector<std::int32_t> make_tokens(std::int64_t rows) {
  std::vector<std::int32_t> out(rows);
  for (std::int64_t i = 0; i < rows; ++i) out[i] = static_cast<std::int32_t>(3 * i + 5);
  return out;
}

// One rank's part of a fit of all rows, the group's; on a device where one is given.
inline Fit fit_in(cluster::Communicator& group, const std::vector<float>& columns,
                  std::int64_t width, const Options& options, const FitHooks& hooks = {},
                  const std::string& purpose = "test", const DevicePlace* device = nullptr) {
  at::set_num_threads(1);
  const auto count = static_cast<std::int64_t>(columns.size()) / width;
  const auto tokens = make_tokens(count);
  const auto own = cluster::rows_of(count, group.size(), group.rank());
  const Shard shard{Rows(std::span(columns).subspan(own.begin * width, own.size() * width),
                         std::span(tokens).subspan(own.begin, own.size()), width, 1),
                    own.begin,
                    count,
                    {},
                    device};
  const auto initial = options.init == "svd" ? svd_initial(shard, options, purpose, group)
                                             : normal_initial(options, purpose);
  auto fit = factorise(shard, initial, options, group, hooks);
  fit.factors.tokens = tokens;
  return fit;
}

// The same in a form of the cost model's, or, as "device", with the CPU as a device.
inline Fit fit_in_form(cluster::Communicator& group, const std::vector<float>& columns,
                       std::int64_t width, Options options, const std::string& form,
                       const FitHooks& hooks = {}) {
  if (form != "device") {
    options.form = form;
    return fit_in(group, columns, width, options, hooks);
  }
  const DevicePlace place{at::kCPU, group, {}};
  return fit_in(group, columns, width, options, hooks, "test", &place);
}

inline Fit fit_of(const std::vector<float>& columns, std::int64_t width, const Options& options) {
  return fit_in(*cluster::make_self_communicator(), columns, width, options);
}

inline Fit fit_of_form(const std::vector<float>& columns, std::int64_t width,
                       const Options& options, const std::string& form) {
  return fit_in_form(*cluster::make_self_communicator(), columns, width, options, form);
}

inline at::Tensor dense_coefficients(const Factors& factors) {
  auto out =
      at::zeros({static_cast<std::int64_t>(factors.tokens.size()), factors.rank}, at::kDouble);
  const auto kept = factors.per_feature();
  for (std::int64_t i = 0; i < factors.rank * kept; ++i)
    out[factors.rows[i]][i / kept] = factors.coefficients[i];
  return out;
}

inline at::Tensor dense_features(const Factors& factors) {
  return at::from_blob(const_cast<float*>(factors.features.data()), {factors.rank, factors.width},
                       at::kFloat)
      .t()
      .to(at::kDouble);
}

// What a rank of a group got (G: rank 0 alone) against a fit of one rank. A sum over ranks rounds
// otherwise than one of a single rank.
inline void expect_same_fit(const Fit& actual, const Fit& expected, int rank = 0) {
  if (rank == 0) {
    ASSERT_EQ(actual.factors.rows, expected.factors.rows);
    EXPECT_TRUE(at::allclose(dense_coefficients(actual.factors),
                             dense_coefficients(expected.factors), 1e-4, 1e-4));
  } else {
    EXPECT_TRUE(actual.factors.rows.empty());
    EXPECT_TRUE(actual.factors.coefficients.empty());
  }
  // Where nothing moves any more, rounding says which iteration is the best one.
  EXPECT_NEAR(actual.objective.at(actual.best_iteration),
              expected.objective.at(expected.best_iteration), 1e-6 * expected.objective[0]);
  ASSERT_EQ(actual.objective.size(), expected.objective.size());
  for (std::size_t i = 0; i < expected.objective.size(); ++i)
    EXPECT_NEAR(actual.objective[i], expected.objective[i],
                1e-6 * expected.objective[i] + 1e-8 * expected.objective[0]);
  EXPECT_TRUE(
      at::allclose(dense_features(actual.factors), dense_features(expected.factors), 1e-4, 1e-4));
}

}  // namespace quench::dictionary
