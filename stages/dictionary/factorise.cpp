#include "stages/dictionary/factorise.hpp"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "cluster/error.hpp"
#include "cluster/random.hpp"
#include "stages/dictionary/sparse_columns.hpp"

namespace quench::dictionary {

namespace {

[[noreturn]] void refuse_row(std::span<const float> row, std::int32_t token) {
  const auto bad =
      std::find_if_not(row.begin(), row.end(), [](float x) { return std::isfinite(x); });
  throw DataError("embedding row of token " + std::to_string(token) + ", column " +
                  std::to_string(bad - row.begin()) + ": " + std::to_string(*bad) +
                  " is not a finite number; the checkpoint is damaged, get it anew");
}

// ||A||^2 in float64. Throws DataError for a number that is not finite.
double square_norm(std::span<const float> columns, std::span<const std::int32_t> tokens,
                   std::int64_t width) {
  double total = 0;
  for (std::size_t r = 0; r < tokens.size(); ++r) {
    const auto row = columns.subspan(r * width, width);
    double sum = 0;
    for (const double value : row) sum += value * value;
    if (!std::isfinite(sum)) refuse_row(row, tokens[r]);
    total += sum;
  }
  return total;
}

// G_0, [n, K]: keyed by global row, so that it is the same however the rows are shared out.
at::Tensor initial_coefficients(std::int64_t rows, const Options& options,
                                const std::string& purpose) {
  const cluster::KeyedRandom random(static_cast<std::uint64_t>(options.seed),
                                    "dictionary.init/" + purpose);
  auto out = at::empty({rows, options.rank}, at::kFloat);
  float* values = out.mutable_data_ptr<float>();
  at::parallel_for(0, rows * options.rank, 4096, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = begin; i < end; ++i) values[i] = static_cast<float>(random.normal(i));
  });
  return out;
}

// The alternation of methods 3.1; matrices of d columns are F and A G transposed, in float64.
class Alternation {
 public:
  Alternation(std::span<const float> columns, std::span<const std::int32_t> tokens,
              std::int64_t width, const Options& options, const std::string& purpose);

  // One iteration; returns ||A - F G^T||^2.
  double iterate();
  const at::Tensor& features() const { return features_; }
  const SparseColumns& coefficients() const { return coefficients_; }
  double ridge() const { return ridge_; }

 private:
  at::Tensor solve(const at::Tensor& gram_matrix, const at::Tensor& right_side);
  void update_coefficients(const at::Tensor& solver);

  at::Tensor rows_;  // A^T, [n, d] float32; the caller's memory
  double square_norm_;
  double ridge_;
  int raises_left_ = 3;
  at::Tensor features_;  // F^T, [K, d]
  SparseColumns coefficients_;
  at::Tensor product_, gram_;  // (A G)^T and G^T G of the current G
};

Alternation::Alternation(std::span<const float> columns, std::span<const std::int32_t> tokens,
                         std::int64_t width, const Options& options, const std::string& purpose)
    : square_norm_(square_norm(columns, tokens, width)), ridge_(options.ridge) {
  const auto count = static_cast<std::int64_t>(tokens.size());
  rows_ = at::from_blob(const_cast<float*>(columns.data()), {count, width}, at::kFloat);
  coefficients_ = make_sparse_columns(options.rank, kept_per_feature(count, options.density));
  const auto initial = initial_coefficients(count, options, purpose);
  product_ = at::mm(initial.t(), rows_).to(at::kDouble);
  gram_ = at::mm(initial.t(), initial).to(at::kDouble);
}

// (gram + lambda I)^-1 right_side by Cholesky. Lambda is raised tenfold, and stays so, when the
// matrix is not positive definite in float64.
at::Tensor Alternation::solve(const at::Tensor& gram_matrix, const at::Tensor& right_side) {
  for (;;) {
    auto system = gram_matrix.clone();
    system.diagonal().add_(ridge_);
    const auto [factor, info] = at::linalg_cholesky_ex(system);
    if (info.item<int>() == 0) return at::cholesky_solve(right_side, factor);
    if (raises_left_-- == 0) {
      throw DataError(
          "the systems of the factorisation are singular, even with a thousandfold "
          "dictionary.ridge; raise it or lower dictionary.rank");
    }
    ridge_ *= 10;
  }
}

// G = A^T F~, a block of features at a time, each thresholded at once: n x K numbers never exist
// together when n is large.
void Alternation::update_coefficients(const at::Tensor& solver) {
  constexpr std::int64_t block_numbers = 1 << 22;
  const auto rank = coefficients_.columns;
  const auto count = rows_.size(0);
  const auto block =
      std::clamp<std::int64_t>(block_numbers / count, std::min<std::int64_t>(16, rank), rank);
  for (std::int64_t first = 0; first < rank; first += block) {
    const auto last = std::min(first + block, rank);
    const auto dense = at::mm(solver.slice(0, first, last), rows_.t());
    const std::span<const float> numbers(dense.const_data_ptr<float>(), dense.numel());
    at::parallel_for(first, last, 1, [&](std::int64_t begin, std::int64_t end) {
      for (auto k = begin; k < end; ++k)
        keep_largest(numbers.subspan((k - first) * count, count), k, coefficients_);
    });
  }
}

double Alternation::iterate() {
  features_ = solve(gram_, product_);                                    // step 1
  features_.mul_(gram_.diagonal().sqrt().clamp_min(1e-8).unsqueeze(1));  // step 3
  const auto features_gram = at::mm(features_, features_.t());
  update_coefficients(solve(features_gram, features_).to(at::kFloat));  // steps 4, 5
  product_ = product(rows_, coefficients_);
  gram_ = gram(coefficients_, rows_.size(0));
  const auto cross = (features_ * product_).sum().item<double>();
  const auto model = (features_gram * gram_).sum().item<double>();
  return std::max(0.0, square_norm_ - 2 * cross + model);  // step 6; rounding may go below 0
}

}  // namespace

std::int64_t kept_per_feature(std::int64_t rows, double density) {
  const auto share = static_cast<std::int64_t>(std::ceil(density * static_cast<double>(rows)));
  return std::min(rows, std::max<std::int64_t>(1, share));
}

bool StopRule::improves(double objective) {
  const double before = best_.empty() ? std::numeric_limits<double>::infinity() : best_.back();
  const double margin = options_.stop == "patience" ? options_.tolerance : 0;
  const bool better = objective < before - margin;
  if (better) best_iteration_ = static_cast<std::int64_t>(best_.size());
  best_.push_back(better ? objective : before);
  return better;
}

bool StopRule::window_has_stalled() const {
  const auto done = static_cast<std::int64_t>(best_.size());
  if (done <= options_.window) return false;
  const double before = best_[done - 1 - options_.window];
  return before - best_.back() <= options_.progress * before;
}

std::string StopRule::reason() const {
  const auto done = static_cast<std::int64_t>(best_.size());
  if (options_.stop == "patience") {
    if (done - 1 - best_iteration_ >= options_.patience) return "patience";
  } else if (window_has_stalled()) {
    return "progress";
  }
  return done >= options_.max_iterations ? "max_iterations" : "";
}

Fit factorise(std::span<const float> columns, std::vector<std::int32_t> tokens, std::int64_t width,
              const Options& options, const std::string& purpose) {
  if (tokens.empty()) throw DataError("no tokens to factorise: the concept has no sentences");
  if (columns.size() != tokens.size() * static_cast<std::size_t>(width))
    throw InternalError("factorise: columns do not hold a row of `width` numbers a token");
  Alternation alternation(columns, tokens, width, options, purpose);
  StopRule stop(options);
  Fit fit;
  at::Tensor features;
  SparseColumns coefficients;
  while (fit.stop_reason.empty()) {
    fit.objective.push_back(alternation.iterate());
    if (!std::isfinite(fit.objective.back()))
      throw DataError("the factorisation overflows: the embedding rows are too large");
    if (stop.improves(fit.objective.back())) {
      features = alternation.features();
      coefficients = alternation.coefficients();
    }
    fit.stop_reason = stop.reason();
  }
  fit.ridge = alternation.ridge();
  fit.best_iteration = stop.best_iteration();
  features = features.to(at::kFloat).contiguous();
  const float* numbers = features.const_data_ptr<float>();
  fit.factors = {std::move(tokens),
                 width,
                 options.rank,
                 std::vector<float>(numbers, numbers + features.numel()),
                 std::move(coefficients.rows),
                 std::move(coefficients.values)};
  return fit;
}

}  // namespace quench::dictionary
