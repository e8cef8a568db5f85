#include "stages/dictionary/factorise.hpp"

#include <ATen/ATen.h>

#include <chrono>
#include <cmath>
#include <memory>

#include "cluster/collectives.hpp"
#include "cluster/error.hpp"
#include "stages/dictionary/cost_model.hpp"
#include "stages/dictionary/gather.hpp"
#include "stages/dictionary/panels.hpp"
#include "stages/dictionary/projection.hpp"
#include "stages/factorisation/ridge_system.hpp"
#include "stages/factorisation/stop_rule.hpp"

namespace quench::dictionary {

namespace {

// Adds the time since its making, or since the last lap, to one of several sums.
class Laps {
 public:
  void lap(double& sum) {
    const auto now = std::chrono::steady_clock::now();
    sum += std::chrono::duration<double>(now - last_).count();
    last_ = now;
  }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

// The alternation of methods 3.1. F and A G are held transposed, [K, d] float64.
class Alternation {
 public:
  Alternation(const Shard& shard, const Options& options, cluster::Communicator& group);

  void start(const InitialRows& initial);
  void resume(const FitState& state);
  // Collective. One iteration; returns ||A - F G^T||^2. What any rank asks for, all ranks then see
  // in stop_requested() and save_requested().
  double iterate(bool stop, bool save);

  at::Tensor features() const { return features_; }
  std::shared_ptr<const SparseColumns> coefficients() const { return coefficients_; }
  const RidgeSystem& ridge() const { return ridge_; }
  bool stop_requested() const { return flags_[0] > 0; }
  bool save_requested() const { return flags_[1] > 0; }
  const Projection& projection() const { return *projection_; }
  Fit::Seconds& seconds() { return seconds_; }

 private:
  at::Tensor solver();
  void take(SparseColumns coefficients);
  void sum_over_ranks();
  double objective() const;

  const Shard& shard_;
  const Options& options_;
  cluster::Communicator& group_;
  std::unique_ptr<Projection> projection_;
  RidgeSystem ridge_;
  double square_norm_;
  std::int64_t kept_;
  at::Tensor features_;       // F^T, [K, d]
  at::Tensor features_gram_;  // F^T F, or F F^T where that is the smaller one
  std::shared_ptr<const SparseColumns> coefficients_;  // of this rank's rows
  SparseRows by_row_;
  at::Tensor sums_;            // what ranks add up: (A G)^T, G^T G, flags
  at::Tensor product_, gram_;  // views of it
  double flags_[2] = {0, 0};
  Fit::Seconds seconds_;
};

Alternation::Alternation(const Shard& shard, const Options& options, cluster::Communicator& group)
    : shard_(shard),
      options_(options),
      group_(group),
      ridge_(options.ridge),
      square_norm_(cluster::all_reduce_value(group, shard.rows.square_norm(), cluster::Op::sum)),
      kept_(kept_per_feature(shard.count, options.density)),
      coefficients_(std::make_shared<SparseColumns>()) {
  const auto form = choose_form(
      {shard.count, shard.rows.width(), options.rank, kept_, group.size()}, options.form);
  projection_ = form == Form::bounded
                    ? make_bounded_projection(shard.rows, options.rank, kept_, group)
                    : make_streamed_projection(shard.rows, options.rank, kept_, group);
  const auto rank = options.rank;
  const auto width = shard.rows.width();
  sums_ = at::zeros({rank * width + rank * rank + 2}, at::kDouble);
  product_ = sums_.slice(0, 0, rank * width).view({rank, width});
  gram_ = sums_.slice(0, rank * width, rank * width + rank * rank).view({rank, rank});
}

// A G_0 and G_0^T G_0, a panel of rows at a time.
void Alternation::start(const InitialRows& initial) {
  Laps laps;
  constexpr std::int64_t panel_numbers = std::int64_t{1} << 22;
  const auto& rows = shard_.rows;
  product_.zero_();
  gram_.zero_();
  for_each_panel(rows, panel_numbers / std::max(options_.rank, rows.width()),
                 [&](const at::Tensor& panel, std::int64_t first) {
                   const auto g = initial(shard_.first + first, panel.size(0));
                   product_.add_(at::mm(g.t(), panel).to(at::kDouble), rows.scale());
                   gram_.add_(at::mm(g.t(), g).to(at::kDouble));
                 });
  laps.lap(seconds_.start);
  sum_over_ranks();
  laps.lap(seconds_.communication);
}

void Alternation::resume(const FitState& state) {
  ridge_ = RidgeSystem(state.ridge, state.ridge_raises);
  take(shard_of(state.rows, state.values, options_.rank, shard_.first, shard_.rows.count()));
}

// Collective.
void Alternation::sum_over_ranks() {
  if (group_.size() == 1) return;
  group_.all_reduce({sums_.mutable_data_ptr<double>(), sums_.numel(), cluster::DType::f64},
                    cluster::Op::sum);
}

// Collective. G becomes `coefficients`.
void Alternation::take(SparseColumns coefficients) {
  Laps laps;
  coefficients_ = std::make_shared<const SparseColumns>(std::move(coefficients));
  by_row_ = by_row(*coefficients_, shard_.rows.count());
  product_.copy_(product(shard_.rows, *coefficients_));
  gram_.copy_(gram(*coefficients_, by_row_));
  laps.lap(seconds_.sparse);
  sum_over_ranks();
  laps.lap(seconds_.communication);
}

// Steps 1 and 3 of the reference, then F~ = F (F^T F + lambda I)^-1; where d < K from the smaller
// system, (F F^T + lambda I)^-1 F.
at::Tensor Alternation::solver() {
  features_ = ridge_.solve(gram_, product_);
  features_.mul_(gram_.diagonal().sqrt().clamp_min(1e-8).unsqueeze(1));
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

// Step 6, without a residual: ||A||^2 - 2 <F, A G> + <F^T F, G^T G>.
double Alternation::objective() const {
  const double cross = cross_of(features_, product_);
  const bool small = features_.size(0) <= features_.size(1);
  const double model =
      small ? cross_of(features_gram_, gram_)
            : cross_of(features_, at::mm(gram_.to(at::kFloat), features_.to(at::kFloat)));
  return std::max(0.0, square_norm_ - 2 * cross + model);  // rounding may go below 0
}

double Alternation::iterate(bool stop, bool save) {
  Laps laps;
  const auto vectors = solver();
  laps.lap(seconds_.systems);
  const auto& candidates = projection_->screen(vectors, *coefficients_, by_row_);
  laps.lap(seconds_.dense);
  auto winners = keep_largest(candidates, kept_, group_);
  laps.lap(seconds_.winners);
  sums_[-2].fill_(stop ? 1 : 0);
  sums_[-1].fill_(save ? 1 : 0);
  take(std::move(winners));
  Laps rest;
  flags_[0] = sums_[-2].item<double>();
  flags_[1] = sums_[-1].item<double>();
  const double value = objective();
  rest.lap(seconds_.systems);
  if (!std::isfinite(value))
    throw DataError("the factorisation overflows: the embedding rows are too large");
  return value;
}

// A fit on its way: the alternation, when to stop it, and the best of it.
class Run {
 public:
  Run(const Shard& shard, const Options& options, cluster::Communicator& group,
      const FitHooks& hooks)
      : shard_(shard),
        options_(options),
        group_(group),
        hooks_(hooks),
        alternation_(shard, options, group),
        stop_(options) {}

  void begin(const InitialRows& initial);
  Fit finish();

 private:
  void step();
  void save();
  FitState state();

  const Shard& shard_;
  const Options& options_;
  cluster::Communicator& group_;
  const FitHooks& hooks_;
  Alternation alternation_;
  StopRule stop_;
  Fit fit_;
  at::Tensor best_features_;
  std::shared_ptr<const SparseColumns> best_coefficients_;
  double computed_ = 0;
  std::int64_t steps_ = 0;
  std::chrono::steady_clock::time_point saved_ = std::chrono::steady_clock::now();
};

void Run::begin(const InitialRows& initial) {
  if (hooks_.resume == nullptr) {
    alternation_.start(initial);
    return;
  }
  const auto& state = *hooks_.resume;
  alternation_.resume(state);
  for (const double objective : state.objective) stop_.improves(objective);
  fit_.objective = state.objective;
  fit_.stop_reason = stop_.reason();
  best_coefficients_ = std::make_shared<const SparseColumns>(shard_of(
      state.best_rows, state.best_values, options_.rank, shard_.first, shard_.rows.count()));
  best_features_ = at::tensor(at::ArrayRef<float>(state.best_features), at::kFloat)
                       .view({options_.rank, shard_.rows.width()});
}

void Run::step() {
  using namespace std::chrono;
  const bool due = hooks_.save && group_.rank() == 0 &&
                   duration<double>(steady_clock::now() - saved_).count() >= options_.checkpoint;
  fit_.objective.push_back(alternation_.iterate(hooks_.stop && hooks_.stop(), due));
  computed_ += alternation_.projection().share_computed();
  ++steps_;
  if (stop_.improves(fit_.objective.back())) {
    best_features_ = alternation_.features();
    best_coefficients_ = alternation_.coefficients();
  }
  fit_.stop_reason = stop_.reason();
  if (hooks_.progress) hooks_.progress(std::ssize(fit_.objective), fit_.objective.back());
  if (!fit_.stop_reason.empty()) return;
  if (alternation_.stop_requested() || alternation_.save_requested()) save();
  if (alternation_.stop_requested())
    throw Stopped("dictionary: stopped in a factorisation after iteration " +
                  std::to_string(fit_.objective.size()));
}

// Collective.
void Run::save() {
  if (!hooks_.save) return;
  hooks_.save(state());
  saved_ = std::chrono::steady_clock::now();
}

std::vector<float> as_floats(const at::Tensor& tensor) {
  const auto copy = tensor.to(at::kFloat).contiguous();
  return {copy.const_data_ptr<float>(), copy.const_data_ptr<float>() + copy.numel()};
}

// Collective.
FitState Run::state() {
  FitState out;
  out.objective = fit_.objective;
  out.ridge = alternation_.ridge().lambda();
  out.ridge_raises = alternation_.ridge().raises();
  out.best_iteration = stop_.best_iteration();
  std::tie(out.rows, out.values) = gather(*alternation_.coefficients(), shard_.first, group_);
  std::tie(out.best_rows, out.best_values) = gather(*best_coefficients_, shard_.first, group_);
  out.best_features = as_floats(best_features_);
  return out;
}

// Collective.
Fit Run::finish() {
  while (fit_.stop_reason.empty()) step();
  fit_.ridge = alternation_.ridge().lambda();
  fit_.best_iteration = stop_.best_iteration();
  fit_.form = alternation_.projection().name();
  fit_.share_computed = steps_ == 0 ? 0 : computed_ / static_cast<double>(steps_);
  fit_.seconds = alternation_.seconds();
  fit_.factors.width = shard_.rows.width();
  fit_.factors.rank = options_.rank;
  fit_.factors.features = as_floats(best_features_);
  std::tie(fit_.factors.rows, fit_.factors.coefficients) =
      gather(*best_coefficients_, shard_.first, group_);
  return std::move(fit_);
}

}  // namespace

Fit factorise(const Shard& shard, const InitialRows& initial, const Options& options,
              cluster::Communicator& group, const FitHooks& hooks) {
  if (shard.count == 0) throw DataError("no tokens to factorise: the concept has no sentences");
  Run run(shard, options, group, hooks);
  run.begin(initial);
  return run.finish();
}

}  // namespace quench::dictionary
