#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <utility>

#include "cluster/error.hpp"
#include "stages/dictionary/alternation.hpp"
#include "stages/dictionary/laps.hpp"
#include "stages/dictionary/one_thread.hpp"
#include "stages/dictionary/panels.hpp"
#include "stages/dictionary/threshold.hpp"
#include "stages/dictionary/winners.hpp"

namespace quench::dictionary {

namespace {

constexpr std::int64_t panel_rows = 1024;

// Least share of a feature's square that may be left of it after the features before it, for F^T F
// to be trusted with float32 rounding in C; below, it is made from F in float64.
constexpr double least_pivot = 0.03;

// Least share of ||A||^2 that F G^T may leave: of less, a difference of large sums says too little.
constexpr double least_residual = 0.25;

// Magnitudes closer to a threshold than this share of it are computed again in the space of the
// embedding; about ten times the rounding of (C G) M.
constexpr float contested = 3e-6F;

// F = A G X and F~ = A G M with matrices X and M of K x K, so that
//   F^T F = X^T (G^T C G) X,   A^T F~ = (C G) M,   <F, A G'> = <X, G^T C G'>.
// C is held about a common row u (TokenGram): with P its products, s its `along`, g = G^T 1 and
// w = G^T (s + <u, u> 1), C G = P G + s g^T + 1 w^T. The two ranks of u go along as two more lines.
class GramAlternation final : public Alternation {
 public:
  GramAlternation(const Shard& shard, const Options& options);

  void start(const InitialRows& initial) override;
  void resume(const FitState& state, SparseColumns coefficients) override;
  std::vector<double> iterate(const StopRule& rule, const std::function<Request()>& ask) override;
  std::shared_ptr<const SparseColumns> coefficients() const override { return coefficients_; }
  Solution best() const override {
    return {[this, before = features_from_, mix = mix_] { return features_of(before, mix); },
            [coefficients = coefficients_] { return coefficients; }};
  }
  double share_computed() const override { return 1; }

 private:
  // The G of which F is made: sparse, or G_0 as its A G_0.
  struct Source {
    std::shared_ptr<const SparseColumns> coefficients;
    at::Tensor product;  // [K, d] float64
  };

  at::Tensor features_of(const Source& source, const at::Tensor& mix) const;
  void multiply_rows(const at::Tensor& vectors, at::Tensor& out) const;
  void solve();
  std::vector<double> vector_of(std::int64_t column) const;
  void settle(std::int64_t column);
  const Candidates& screen();
  void multiply(const SparseColumns& coefficients);
  void cross_line(std::int64_t c, const SparseColumns& coefficients, double* out) const;
  at::Tensor common_with(const SparseColumns& coefficients) const;
  at::Tensor gram_with(const SparseColumns& coefficients, const at::Tensor& common) const;
  void take(SparseColumns coefficients);

  double square() const { return shard_.rows.scale() * shard_.rows.scale(); }

  const Shard& shard_;
  std::int64_t rank_, count_;
  at::ScalarType start_type_;
  TokenGram token_gram_;                               // stored units
  std::shared_ptr<const SparseColumns> coefficients_;  // G
  Source current_, features_from_;  // of the G of now, and of the one that F was made from
  SparseRows by_row_;               // G
  at::Tensor gram_;                 // G^T G, [K, K] float64
  at::Tensor crossed_;              // (P G)^T, s, 1: [K + 2, n] float32, scaled but for the 1
  at::Tensor sums_, along_;         // g and w of that G, [K] float64
  at::Tensor crossed_gram_;         // G^T C G
  at::Tensor mix_;                  // X
  at::Tensor features_gram_;        // F^T F
  at::Tensor solver_;    // M^T, M^T g, M^T w: [K, K + 2] float32; unless mixed_, F~^T, [K, d]
  double residual_ = 1;  // share of ||A||^2 that the last iteration left
  bool mixed_ = true;
  at::Tensor mix_tilde_;  // M^T, float64
  at::Tensor features_;   // F^T, [K, d]; unless mixed_
  at::Tensor values_;     // (A^T F~)^T, [K, n]
  Candidates candidates_;
  std::unique_ptr<cluster::Communicator> alone_ = cluster::make_self_communicator();
  std::vector<float> least_, last_least_;  // thresholds of the last two iterations
};

GramAlternation::GramAlternation(const Shard& shard, const Options& options)
    : Alternation(options.ridge, kept_per_feature(shard.count, options.density)),
      shard_(shard),
      rank_(options.rank),
      count_(shard.count),
      start_type_(start_type(options, shard.count)),
      coefficients_(std::make_shared<SparseColumns>()),
      crossed_(at::ones({rank_ + 2, count_}, at::kFloat)),
      values_(at::empty({rank_, count_}, at::kFloat)),
      candidates_(rank_) {
  Laps laps;
  token_gram_ = shard.token_gram ? shard.token_gram(shard.rows) : token_gram(shard.rows);
  crossed_[rank_].copy_(at::tensor(at::ArrayRef<double>(token_gram_.along), at::kDouble) *
                        square());
  laps.lap(seconds_.start);
}

void GramAlternation::start(const InitialRows& initial) {
  Laps laps;
  const auto g = initial(0, count_).to(start_type_);
  const auto& rows = shard_.rows;
  current_ = {nullptr, at::zeros({rank_, rows.width()}, at::kDouble)};
  for_each_panel(rows, panel_rows, [&](const at::Tensor& panel, std::int64_t first) {
    const auto part = g.slice(0, first, first + panel.size(0));
    current_.product.add_(at::mm(part.t(), panel.to(start_type_)).to(at::kDouble), rows.scale());
  });
  const auto center =
      at::tensor(at::ArrayRef<double>(token_gram_.center), at::kDouble) * rows.scale();
  sums_ = g.sum(0, false, at::kDouble);
  along_ = at::mv(current_.product, center);
  const auto centered = current_.product - at::outer(sums_, center);
  auto lines = crossed_.slice(0, 0, rank_);
  multiply_rows(centered.to(at::kFloat), lines);
  lines.sub_(at::mv(centered, center).unsqueeze(1));
  gram_ = at::mm(g.t(), g).to(at::kDouble);
  crossed_gram_ = at::mm(current_.product, current_.product.t());
  laps.lap(seconds_.start);
}

// out = vectors A, of vectors [K, d]; [K, n].
void GramAlternation::multiply_rows(const at::Tensor& vectors, at::Tensor& out) const {
  for_each_panel(shard_.rows, panel_rows, [&](const at::Tensor& panel, std::int64_t first) {
    auto block = out.slice(1, first, first + panel.size(0));
    at::mm_out(block, vectors, panel.t());
  });
  if (shard_.rows.scale() != 1) out.mul_(shard_.rows.scale());
}

void GramAlternation::resume(const FitState& state, SparseColumns coefficients) {
  ridge_ = RidgeSystem(state.ridge, state.ridge_raises);
  residual_ = state.objective.back() / std::max(shard_.rows.square_norm(), 1e-300);
  take(std::move(coefficients));
}

at::Tensor GramAlternation::features_of(const Source& source, const at::Tensor& mix) const {
  const auto product = source.product.defined()
                           ? source.product
                           : dictionary::product(shard_.rows, *source.coefficients);
  return at::mm(mix.t(), product);
}

// Whether a matrix, scaled to a unit diagonal, is far enough from singular. Without the ridge,
// which would hide it.
bool well_posed(const at::Tensor& matrix) {
  const auto [factor, info] = at::linalg_cholesky_ex(matrix);
  if (info.item<int>() != 0) return false;
  const auto pivots = factor.diagonal().square().div_(matrix.diagonal());
  return pivots.min().item<double>() > least_pivot;
}

// Steps 1 and 3 of the reference, then F~ as M = X (F^T F + lambda I)^-1 or, where the rounding of
// C would matter, itself.
void GramAlternation::solve() {
  std::optional<OneThread> alone(std::in_place, rank_ * rank_ * rank_);
  const auto scales = gram_.diagonal().sqrt().clamp_min(1e-8);
  mix_ = ridge_.inverse(gram_).mul_(scales);
  features_from_ = current_;
  mixed_ = residual_ > least_residual && well_posed(gram_);
  if (mixed_) {
    const auto gram = at::mm(mix_.t(), at::mm(crossed_gram_, mix_));
    features_gram_ = (gram + gram.t()).div_(2);
    mixed_ = well_posed(features_gram_);
    if (mixed_) {
      mix_tilde_ = ridge_.solve(features_gram_, mix_.t());
      solver_ = at::cat({mix_tilde_, at::mv(mix_tilde_, sums_).unsqueeze(1),
                         at::mv(mix_tilde_, along_).unsqueeze(1)},
                        1)
                    .to(at::kFloat);
    }
  }
  if (!mixed_) {
    alone.reset();
    features_ = features_of(features_from_, mix_);
    features_gram_ = at::mm(features_, features_.t());
    solver_ = ridge_.solve(features_gram_, features_).to(at::kFloat);
  }
  if (!std::isfinite(solver_.sum().item<float>())) refuse_overflow();
}

// F~_k, times this gives A^T F~_k of stored rows.
std::vector<double> GramAlternation::vector_of(std::int64_t column) const {
  std::vector<double> out(shard_.rows.width());
  const double* mix = mix_tilde_.const_data_ptr<double>() + column * rank_;
  if (current_.product.defined()) {
    const double* product = current_.product.const_data_ptr<double>();
    for (std::int64_t k = 0; k < rank_; ++k)
      for (std::size_t j = 0; j < out.size(); ++j)
        out[j] += shard_.rows.scale() * mix[k] * product[k * std::ssize(out) + j];
    return out;
  }
  std::vector<std::int32_t> places;
  std::vector<float> factors;
  for (std::int64_t r = 0; r < count_; ++r) {
    double factor = 0;
    for (auto i = by_row_.offsets[r]; i < by_row_.offsets[r + 1]; ++i)
      factor += square() * static_cast<double>(by_row_.values[i]) * mix[by_row_.columns[i]];
    if (factor == 0) continue;
    places.push_back(static_cast<std::int32_t>(r));
    factors.push_back(static_cast<float>(factor));
  }
  shard_.rows.add_weighted(places, factors.data(), out.data());
  return out;
}

// Where the rounding of (C G) M could decide which candidates win, makes the contested ones anew.
void GramAlternation::settle(std::int64_t column) {
  const auto& rows = candidates_.rows[column];
  auto& values = candidates_.values[column];
  const float threshold = threshold_of(values.data(), std::ssize(values), kept_);
  const float low = threshold * (1 - contested), high = threshold * (1 + contested);
  if (kernels::count_from(values.data(), std::ssize(values), low) == kept_) return;
  const auto vector = vector_of(column);
  std::vector<float> row(vector.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (std::abs(values[i]) < low || std::abs(values[i]) > high) continue;
    shard_.rows.copy(rows[i], 1, row.data());
    values[i] = static_cast<float>(std::inner_product(row.begin(), row.end(), vector.begin(), 0.0));
  }
}

const Candidates& GramAlternation::screen() {
  if (mixed_)
    at::mm_out(values_, solver_, crossed_);
  else
    multiply_rows(solver_, values_);
  const float* values = values_.const_data_ptr<float>();
  at::parallel_for(0, rank_, 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto k = begin; k < end; ++k) {
      auto& rows = candidates_.rows[k];
      auto& found = candidates_.values[k];
      const float* column = values + k * count_;
      rows.clear();
      found.clear();
      const bool known = !last_least_.empty() && least_[k] > 0;
      if (known)
        kernels::collect(column, count_, next_threshold(least_[k], last_least_[k]), 0, rows, found);
      if (std::ssize(rows) < kept_) {
        rows.clear();
        found.clear();
        const float least = threshold_of(column, count_, kept_);
        kernels::collect(column, count_, least * (1 - 2 * contested), 0, rows, found);
      }
      if (mixed_) settle(k);
    }
  });
  return candidates_;
}

// (P G)^T of the coefficients into crossed_: one pass over P.
void GramAlternation::multiply(const SparseColumns& coefficients) {
  std::vector<float> factors(coefficients.values);
  for (float& factor : factors) factor *= static_cast<float>(square());
  float* out = crossed_.mutable_data_ptr<float>();
  const auto& products = token_gram_.products;
  at::parallel_for(0, products.panels(), 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = begin; i < end; ++i) {
      const auto column = i * PanelMatrix::width;
      kernels::multiply_panel(products.panel(i), products.panel(std::min(i + 1, end - 1)),
                              coefficients.rows.data(), factors.data(), coefficients.offsets.data(),
                              rank_, std::min(PanelMatrix::width, count_ - column), out + column,
                              count_);
    }
  });
}

// s^T G' and 1^T G', [2, K] float64.
at::Tensor GramAlternation::common_with(const SparseColumns& coefficients) const {
  auto out = at::empty({2, rank_}, at::kDouble);
  for (std::int64_t line = 0; line < 2; ++line)
    cross_line(rank_ + line, coefficients, out[line].mutable_data_ptr<double>());
  return out;
}

// G^T C G', [K, K] float64, with common_with(G').
at::Tensor GramAlternation::gram_with(const SparseColumns& coefficients,
                                      const at::Tensor& common) const {
  auto out = at::empty({rank_, rank_}, at::kDouble);
  double* lines = out.mutable_data_ptr<double>();
  const double *sums = sums_.const_data_ptr<double>(), *along = along_.const_data_ptr<double>();
  const double *s = common.const_data_ptr<double>(), *one = s + rank_;
  at::parallel_for(0, rank_, 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto c = begin; c < end; ++c) {
      double* line = lines + c * rank_;
      cross_line(c, coefficients, line);
      for (std::int64_t k = 0; k < rank_; ++k) line[k] += sums[c] * s[k] + along[c] * one[k];
    }
  });
  return out;
}

// Line c of crossed_, which stays in the innermost cache, times G': out, [K].
void GramAlternation::cross_line(std::int64_t c, const SparseColumns& coefficients,
                                 double* out) const {
  const float* line = crossed_.const_data_ptr<float>() + c * count_;
  for (std::int64_t k = 0; k < rank_; ++k) {
    const auto first = coefficients.offsets[k];
    out[k] = kernels::gathered_dot(line, coefficients.rows.data() + first,
                                   coefficients.values.data() + first,
                                   coefficients.offsets[k + 1] - first);
  }
}

// G becomes `coefficients`.
void GramAlternation::take(SparseColumns coefficients) {
  Laps laps;
  last_least_ = std::exchange(least_, coefficients.least_kept);
  coefficients_ = std::make_shared<const SparseColumns>(std::move(coefficients));
  current_ = {coefficients_, {}};
  multiply(*coefficients_);
  by_row_ = by_row(*coefficients_, count_);
  gram_ = gram(*coefficients_, by_row_);
  const auto common = common_with(*coefficients_);
  sums_ = common[1];
  along_ = common[0] + sums_ * (token_gram_.square * square());
  crossed_gram_ = gram_with(*coefficients_, common);
  laps.lap(seconds_.sparse);
}

double cross_of(const at::Tensor& a, const at::Tensor& b) {
  return a.flatten().dot(b.flatten()).item<double>();
}

std::vector<double> GramAlternation::iterate(const StopRule& /*rule*/,
                                             const std::function<Request()>& ask) {
  const auto asked = ask();
  stop_ = asked.stop;
  save_ = asked.save;
  Laps laps;
  solve();
  laps.lap(seconds_.systems);
  const auto& candidates = screen();
  laps.lap(seconds_.dense);
  auto winners = keep_largest(candidates, kept_, *alone_);
  laps.lap(seconds_.winners);
  const double cross = mixed_ ? cross_of(mix_, gram_with(winners, common_with(winners)))
                              : cross_of(features_, dictionary::product(shard_.rows, winners));
  laps.lap(seconds_.systems);
  take(std::move(winners));
  Laps rest;
  const double model = cross_of(features_gram_, gram_);
  const double value = std::max(0.0, shard_.rows.square_norm() - 2 * cross + model);
  rest.lap(seconds_.systems);
  if (!std::isfinite(value)) refuse_overflow();
  residual_ = value / std::max(shard_.rows.square_norm(), 1e-300);
  return {value};
}

}  // namespace

std::unique_ptr<Alternation> make_gram_alternation(const Shard& shard, const Options& options) {
  return std::make_unique<GramAlternation>(shard, options);
}

}  // namespace quench::dictionary
