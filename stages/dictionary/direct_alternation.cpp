#include <ATen/ATen.h>

#include <cmath>

#include "cluster/collectives.hpp"
#include "cluster/error.hpp"
#include "stages/dictionary/alternation.hpp"
#include "stages/dictionary/laps.hpp"
#include "stages/dictionary/one_thread.hpp"
#include "stages/dictionary/panels.hpp"
#include "stages/dictionary/projection.hpp"
#include "stages/dictionary/width_slices.hpp"

namespace quench::dictionary {

namespace {

// F and A G are held transposed, [K, d] float64; the columns of A G by slices over the ranks.
class DirectAlternation final : public Alternation {
 public:
  DirectAlternation(const Shard& shard, Form form, const Options& options,
                    cluster::Communicator& group);

  void start(const InitialRows& initial) override;
  void resume(const FitState& state, SparseColumns coefficients) override;
  std::vector<double> iterate(const StopRule& rule, const std::function<Request()>& ask) override;
  std::shared_ptr<const SparseColumns> coefficients() const override { return coefficients_; }
  Solution best() const override {
    return {[features = features_] { return features; },
            [coefficients = coefficients_] { return coefficients; }};
  }
  double share_computed() const override { return projection_->share_computed(); }

 private:
  at::Tensor solver();
  void take(SparseColumns coefficients, const Request& asked);
  void sum_over_ranks(const at::Tensor& product);
  double objective() const;

  const Shard& shard_;
  cluster::Communicator& group_;
  std::unique_ptr<Projection> projection_;
  WidthSlices slices_;
  double square_norm_;
  std::int64_t rank_;
  at::ScalarType start_type_;
  at::Tensor features_, own_features_;  // F^T, and this rank's columns of it
  at::Tensor features_gram_;            // F^T F, or F F^T where that is the smaller one
  std::shared_ptr<const SparseColumns> coefficients_;  // of this rank's rows
  at::Tensor product_;                                 // (A G)^T, this rank's columns
  at::Tensor sums_;                                    // what ranks add up whole: G^T G, flags
  at::Tensor gram_;                                    // a view of it
};

DirectAlternation::DirectAlternation(const Shard& shard, Form form, const Options& options,
                                     cluster::Communicator& group)
    : Alternation(options.ridge, kept_per_feature(shard.count, options.density)),
      shard_(shard),
      group_(group),
      projection_(form == Form::bounded
                      ? make_bounded_projection(shard.rows, options.rank, kept_, group)
                      : make_streamed_projection(shard.rows, options.rank, kept_, group)),
      slices_(shard.rows.width(), group),
      square_norm_(cluster::all_reduce_value(group, shard.rows.square_norm(), cluster::Op::sum)),
      rank_(options.rank),
      start_type_(start_type(options, shard.count)),
      coefficients_(std::make_shared<SparseColumns>()),
      sums_(at::zeros({rank_ * rank_ + 2}, at::kDouble)),
      gram_(sums_.slice(0, 0, rank_ * rank_).view({rank_, rank_})) {}

// A G_0 and G_0^T G_0, a panel of rows at a time.
void DirectAlternation::start(const InitialRows& initial) {
  Laps laps;
  constexpr std::int64_t panel_numbers = std::int64_t{1} << 22;
  const auto& rows = shard_.rows;
  auto product = at::zeros({rank_, rows.width()}, at::kDouble);
  gram_.zero_();
  const auto add = [&](const at::Tensor& panel, std::int64_t first) {
    const auto g = initial(shard_.first + first, panel.size(0)).to(start_type_);
    product.add_(at::mm(g.t(), panel.to(start_type_)).to(at::kDouble), rows.scale());
    gram_.add_(at::mm(g.t(), g).to(at::kDouble));
  };
  // A G_0 of a file may be refused.
  cluster::agree(group_,
                 [&] { for_each_panel(rows, panel_numbers / std::max(rank_, rows.width()), add); });
  laps.lap(seconds_.start);
  sum_over_ranks(product);
}

void DirectAlternation::resume(const FitState& state, SparseColumns coefficients) {
  ridge_ = RidgeSystem(state.ridge, state.ridge_raises);
  take(std::move(coefficients), {});
}

// Collective.
void DirectAlternation::sum_over_ranks(const at::Tensor& product) {
  Laps laps;
  product_ = slices_.reduce(product);
  if (group_.size() > 1)
    group_.all_reduce({sums_.mutable_data_ptr<double>(), sums_.numel(), cluster::DType::f64},
                      cluster::Op::sum);
  stop_ = sums_[-2].item<double>() > 0;
  save_ = sums_[-1].item<double>() > 0;
  laps.lap(seconds_.communication);
}

// Collective. G becomes `coefficients`.
void DirectAlternation::take(SparseColumns coefficients, const Request& asked) {
  Laps laps;
  coefficients_ = std::make_shared<const SparseColumns>(std::move(coefficients));
  const auto product = dictionary::product(shard_.rows, *coefficients_);
  gram_.copy_(gram(*coefficients_, by_row(*coefficients_, shard_.rows.count())));
  sums_[-2].fill_(asked.stop ? 1 : 0);
  sums_[-1].fill_(asked.save ? 1 : 0);
  laps.lap(seconds_.sparse);
  sum_over_ranks(product);
}

// Collective. Steps 1 and 3 of the reference, then F~ = F (F^T F + lambda I)^-1; where d < K from
// the smaller system, (F F^T + lambda I)^-1 F.
at::Tensor DirectAlternation::solver() {
  const OneThread alone(rank_ * rank_ * shard_.rows.width());
  own_features_ = ridge_.solve(gram_, product_);
  own_features_.mul_(gram_.diagonal().sqrt().clamp_min(1e-8).unsqueeze(1));
  features_ = slices_.gather(own_features_);
  if (features_.size(0) <= features_.size(1)) {
    features_gram_ = at::mm(features_, features_.t());
    return ridge_.solve(features_gram_, features_).to(at::kFloat);
  }
  features_gram_ = at::mm(features_.t(), features_);
  return ridge_.solve(features_gram_, features_.t()).t().to(at::kFloat).contiguous();
}

double cross_of(const at::Tensor& a, const at::Tensor& b) {
  return a.flatten().dot(b.to(at::kDouble).flatten()).item<double>();
}

// Collective. Step 6, without a residual: ||A||^2 - 2 <F, A G> + <F^T F, G^T G>.
double DirectAlternation::objective() const {
  const OneThread alone(rank_ * rank_ * shard_.rows.width());
  const auto rank = features_.size(0), width = features_.size(1);
  const double cross = -2 * cross_of(own_features_, product_);
  const auto with = [&](at::ScalarType type) {
    double value = cross;
    if (rank > width)
      value += cross_of(own_features_, at::mm(gram_.to(type), own_features_.to(type)));
    else if (group_.rank() == 0)  // which all have; of one rank, that all ranks go the same way
      value += cross_of(features_gram_, gram_);
    value = cluster::all_reduce_value(group_, value, cluster::Op::sum);
    return std::max(0.0, square_norm_ + value);  // rounding may go below 0
  };
  // float32 rounds by some 1e-7 of ||A||^2: good enough where that is worth its time and the
  // objective is no small difference of large numbers.
  constexpr std::int64_t cheap = std::int64_t{1} << 28;
  const bool is_large = rank > width && rank * rank * width > cheap;
  const double value = with(is_large ? at::kFloat : at::kDouble);
  return is_large && value < 0.25 * square_norm_ ? with(at::kDouble) : value;
}

std::vector<double> DirectAlternation::iterate(const StopRule& /*rule*/,
                                               const std::function<Request()>& ask) {
  const auto asked = ask();
  Laps laps;
  const auto vectors = solver();
  laps.lap(seconds_.systems);
  if (!std::isfinite(vectors.sum().item<float>())) refuse_overflow();  // on all ranks alike
  const auto& candidates = projection_->screen(vectors, *coefficients_);
  laps.lap(seconds_.dense);
  auto winners = keep_largest(candidates, kept_, group_);
  laps.lap(seconds_.winners);
  take(std::move(winners), asked);
  Laps rest;
  const double value = objective();
  rest.lap(seconds_.systems);
  if (!std::isfinite(value)) refuse_overflow();
  return {value};
}

}  // namespace

std::unique_ptr<Alternation> make_direct_alternation(const Shard& shard, Form form,
                                                     const Options& options,
                                                     cluster::Communicator& group) {
  return std::make_unique<DirectAlternation>(shard, form, options, group);
}

}  // namespace quench::dictionary
