#include "stages/dictionary/half_product.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <mutex>
#include <numeric>

#include "stages/dictionary/search.hpp"
#include "stages/dictionary/sparse_columns.hpp"

namespace quench::dictionary {
namespace {

// Normal numbers that bfloat16 can hold.
at::Tensor halves(std::int64_t lines, std::int64_t width, std::uint64_t seed) {
  at::manual_seed(seed);
  return at::randn({lines, width}).to(at::kBFloat16).to(at::kFloat);
}

std::vector<kernels::Half> stored(const at::Tensor& numbers) {
  std::vector<kernels::Half> out(numbers.numel());
  std::transform(numbers.const_data_ptr<float>(), numbers.const_data_ptr<float>() + out.size(),
                 out.begin(), to_half);
  return out;
}

Rows rows_of(const at::Tensor& numbers) {
  std::vector<std::int32_t> tokens(numbers.size(0));
  std::iota(tokens.begin(), tokens.end(), 0);
  return {{numbers.const_data_ptr<float>(), static_cast<std::size_t>(numbers.numel())},
          tokens,
          numbers.size(1),
          1};
}

struct Shape {
  std::int64_t rows, width, vectors;
};
const std::vector<Shape> shapes{{1, 1, 1},     {33, 2, 12},   {200, 33, 13},
                                {70, 100, 17}, {96, 576, 33}, {1200, 640, 100}};

// Sums of float32 differ from exact ones by a few roundings of the vectors' lengths.
constexpr double tolerance = 1e-6;

TEST(HalfProduct, EveryEngineMultiplies) {
  for (const auto& engine : half_engines()) {
    for (const auto& [rows, width, vectors] : shapes) {
      SCOPED_TRACE(engine.name + ", " + std::to_string(rows) + " x " + std::to_string(width));
      const auto a = halves(rows, width, 1), b = halves(vectors, width, 2);
      const auto a_stored = stored(a), b_stored = stored(b);
      const auto expected = at::mm(b.to(at::kDouble), a.to(at::kDouble).t());
      const auto lengths = at::outer(b.norm(2, 1), a.norm(2, 1)).to(at::kDouble);
      const HalfProduct product(a_stored.data(), rows, width, &engine);

      auto out = at::full({vectors, rows + 3}, 7, at::kFloat);
      product.multiply(b_stored, out.mutable_data_ptr<float>(), rows + 3);
      const auto gap = (out.slice(1, 0, rows).to(at::kDouble) - expected).abs();
      EXPECT_TRUE((gap <= tolerance * lengths).all().item<bool>());
      EXPECT_TRUE((out.slice(1, rows) == 7).all().item<bool>()) << "wrote behind its rows";

      const std::vector<double> vector_shifts(vectors, 0.25), row_shifts(rows, 0.5);
      product.multiply_shifted(b_stored, vector_shifts.data(), row_shifts.data(), rows / 2,
                               out.mutable_data_ptr<float>(), rows + 3);
      const auto shifted = (out.slice(1, 0, rows).to(at::kDouble) + 0.75 - expected).abs();
      EXPECT_TRUE((shifted.slice(1, rows / 2) <= tolerance * (lengths.slice(1, rows / 2) + 1))
                      .all()
                      .item<bool>());
    }
  }
}

TEST(HalfProduct, VisitsEveryEntryOnce) {
  for (const auto& engine : half_engines()) {
    const auto a = stored(halves(300, 10, 1)), b = stored(halves(45, 10, 2));
    const HalfProduct product(a.data(), 300, 10, &engine);
    std::vector<int> visits(45 * 300, 0);
    std::mutex mutex;
    product.visit(b, [&](const HalfProduct::Part& part) {
      const std::scoped_lock lock(mutex);
      for (std::int64_t k = 0; k < part.vectors; ++k)
        for (std::int64_t i = 0; i < part.rows; ++i)
          ++visits.at((part.first_vector + k) * 300 + part.first_row + i);
    });
    EXPECT_EQ(std::ranges::count(visits, 1), std::ssize(visits)) << engine.name;
  }
}

void expect_found(const at::Tensor& a, const at::Tensor& vectors,
                  const std::vector<std::int64_t>& columns, const std::vector<float>& least) {
  const auto rows = rows_of(a);
  Candidates found(vectors.size(0));
  for (auto& places : found.rows) places = {5};  // of before
  for (auto& values : found.values) values = {5};
  make_search(rows)->collect(vectors, columns, least, found);
  const auto all = at::mm(vectors.to(at::kDouble), a.to(at::kDouble).t());
  for (const auto k : columns) {
    std::vector<std::int32_t> expected;
    for (std::int64_t i = 0; i < a.size(0); ++i)
      if (std::abs(all[k][i].item<double>()) >= least[k])
        expected.push_back(static_cast<std::int32_t>(i));
    ASSERT_EQ(found.rows[k], expected) << "column " << k;
    for (std::size_t i = 0; i < expected.size(); ++i)
      EXPECT_NEAR(found.values[k][i], all[k][expected[i]].item<double>(), 1e-4);
  }
}

TEST(Search, FindsWhatReachesTheThreshold) {
  at::manual_seed(3);
  const auto vectors = at::randn({40, 24});
  std::vector<float> least;
  for (int k = 0; k < 40; ++k) least.push_back(static_cast<float>(0.5 * k));
  std::vector<std::int64_t> all(40);
  std::iota(all.begin(), all.end(), 0);
  for (const auto& a : {halves(700, 24, 4), at::randn({700, 24}), halves(1, 24, 5)}) {
    expect_found(a, vectors, all, least);
    expect_found(a, vectors, {3, 17, 39}, least);
  }
}

// More rows than a panel of either search, and of a run, has.
TEST(Search, GoesOverPanels) {
  at::manual_seed(6);
  const auto vectors = at::randn({2000, 4});
  std::vector<std::int64_t> all(2000);
  std::iota(all.begin(), all.end(), 0);
  const std::vector<float> least(2000, 7);
  expect_found(halves(3000, 4, 7), vectors, {0, 1000, 1999}, least);
  Candidates found(2000), floats(2000);
  const auto a = halves(70000, 4, 8);
  make_search(rows_of(a))->collect(vectors, all, least, found);
  const auto expected = (at::mm(vectors, a.t()).abs() >= 7).sum().item<std::int64_t>();
  std::int64_t total = 0;
  for (const auto& rows : found.rows) total += std::ssize(rows);
  EXPECT_NEAR(static_cast<double>(total), static_cast<double>(expected), 1e-5 * 70000 * 2000);
  EXPECT_GT(expected, 10000);
}

TEST(SparseColumns, ProductOverPanelsOfRows) {
  constexpr std::int64_t count = 70000, width = 8, columns = 5;
  const auto a = halves(count, width, 9);
  auto dense = at::zeros({columns, count});
  SparseColumns sparse;
  for (std::int64_t k = 0; k < columns; ++k) {
    for (std::int64_t i = k; i < count; i += 1000 * (k + 1)) {
      sparse.rows.push_back(static_cast<std::int32_t>(i));
      sparse.values.push_back(static_cast<float>(i % 7) - 3);
      dense[k][i] = static_cast<double>(sparse.values.back());
    }
    sparse.offsets.push_back(std::ssize(sparse.rows));
  }
  const auto expected = at::mm(dense.to(at::kDouble), a.to(at::kDouble));
  EXPECT_TRUE(at::allclose(product(rows_of(a), sparse), expected, 1e-12, 1e-9));
}

}  // namespace
}  // namespace quench::dictionary
