#include "stages/dictionary/device_batch.hpp"

#include <algorithm>
#include <limits>
#include <tuple>

namespace quench::dictionary {

namespace {

at::Tensor per_job(const at::Tensor& values) { return values.view({-1, 1, 1}); }

template <typename Number>
std::vector<Number> as_vector(const at::Tensor& tensor) {
  const auto copy = tensor.cpu().contiguous();
  const auto* numbers = copy.const_data_ptr<Number>();
  return {numbers, numbers + copy.numel()};
}

}  // namespace

Batch::Batch(std::span<const DeviceJob> jobs, std::span<const StopRule> rules,
             const Options& options, at::Device device)
    : options_(options), rule_(rules, device) {
  std::vector<std::int64_t> kept;
  std::vector<double> scales, square_norms;
  for (const auto& job : jobs) {
    const Rows& rows = job.rows;
    counts_.push_back(rows.count());
    kept.push_back(kept_per_feature(rows.count(), options.density));
    scales.push_back(rows.scale());
    square_norms.push_back(rows.square_norm());
  }
  most_kept_ = *std::max_element(kept.begin(), kept.end());
  const auto size = std::ssize(jobs);
  const auto longest = *std::max_element(counts_.begin(), counts_.end());
  const auto width = jobs[0].rows.get().width();
  const auto on_device = at::TensorOptions(device);
  const auto whole = on_device.dtype(at::kLong);
  rows_ = at::zeros({size, longest, width}, on_device.dtype(at::kFloat));
  coefficients_ = at::zeros({size, options.rank, longest}, on_device.dtype(at::kFloat));
  padding_ = at::arange(longest, whole) >= at::tensor(counts_, whole).unsqueeze(1);
  kept_ = at::tensor(kept, whole);
  scale_ = per_job(at::tensor(scales, on_device.dtype(at::kDouble)));
  square_norm_ = at::tensor(square_norms, on_device.dtype(at::kDouble));
  definite_ = at::ones({size}, on_device.dtype(at::kBool));
  active_ = rule_.ended().logical_not();
  load(jobs);
}

void Batch::load(std::span<const DeviceJob> jobs) {
  const auto width = rows_.size(2);
  best_coefficients_ = at::zeros_like(coefficients_);
  best_features_ = at::zeros({std::ssize(jobs), options_.rank, width}, scale_.options());
  for (std::size_t b = 0; b < jobs.size(); ++b) {
    const auto count = counts_[b];
    const auto place = static_cast<std::int64_t>(b);
    const auto rows = at::empty({count, width}, at::kFloat);
    jobs[b].rows.get().copy(0, count, rows.mutable_data_ptr<float>());
    rows_[place].slice(0, 0, count).copy_(rows);
    if (jobs[b].resume != nullptr)
      load(*jobs[b].resume, place);
    else
      coefficients_[place].slice(1, 0, count).copy_(jobs[b].initial(0, count).t());
  }
  exact_rows_ = rows_.to(at::kDouble);
  take(coefficients_);
}

void Batch::load(const FitState& state, std::int64_t place) {
  const auto rank = options_.rank;
  const auto dense = [&](const std::vector<std::int32_t>& rows, const std::vector<float>& values) {
    const auto places = at::tensor(rows, at::kInt).to(at::kLong).view({rank, -1});
    return at::zeros({rank, rows_.size(1)}, at::kFloat)
        .scatter_(1, places, at::tensor(values, at::kFloat).view({rank, -1}));
  };
  coefficients_[place].copy_(dense(state.rows, state.values));
  best_coefficients_[place].copy_(dense(state.best_rows, state.best_values));
  best_features_[place].copy_(at::tensor(state.best_features, at::kFloat).view({rank, -1}));
}

// G becomes `coefficients`. A G in float64, as the host sums it: a nearly singular system blows up
// what a float32 product would leave of numbers that cancel.
void Batch::take(at::Tensor coefficients) {
  coefficients_ = std::move(coefficients);
  const auto exact = coefficients_.to(at::kDouble);
  product_ = at::bmm(exact, exact_rows_).mul_(scale_);
  gram_ = at::bmm(exact, exact.transpose(1, 2));
}

// (M + lambda I)^-1. By a triangular inverse, since the batched solvers of some devices go through
// the jobs one by one, or wait.
at::Tensor Batch::inverse(const at::Tensor& matrix) {
  auto system = matrix.clone();
  system.diagonal(0, 1, 2).add_(options_.ridge);
  const auto [factor, info] = at::linalg_cholesky_ex(system);
  definite_ = definite_ & (info == 0);
  const auto identity = at::eye(matrix.size(1), matrix.options()).expand_as(matrix);
  const auto triangle = at::linalg_solve_triangular(factor, identity, /*upper=*/false);
  return at::bmm(triangle.transpose(1, 2), triangle);
}

// F, and F~^T = (F (F^T F + lambda I)^-1)^T, [B, K, d] float64.
at::Tensor Batch::solver() {
  features_ = at::bmm(inverse(gram_), product_);
  features_.mul_(gram_.diagonal(0, 1, 2).sqrt().clamp_min(1e-8).unsqueeze(2));
  if (features_.size(1) <= features_.size(2)) {
    features_gram_ = at::bmm(features_, features_.transpose(1, 2));
    return at::bmm(inverse(features_gram_), features_);
  }
  features_gram_ = at::bmm(features_.transpose(1, 2), features_);
  return at::bmm(features_, inverse(features_gram_));
}

// ||A||^2 - 2 <F, A G> + <F^T F, G^T G>, [B].
at::Tensor Batch::objective() const {
  const auto cross = (features_ * product_).sum({1, 2});
  const bool small = features_.size(1) <= features_.size(2);
  const auto model = small ? (features_gram_ * gram_).sum({1, 2})
                           : (at::bmm(gram_, features_) * features_).sum({1, 2});
  return (square_norm_ - cross - cross + model).clamp_min(0);  // rounding may go below 0
}

at::Tensor Batch::iterate() {
  const auto vectors = (solver() * scale_).to(at::kFloat);
  auto dense = at::bmm(vectors, rows_.transpose(1, 2));
  const auto losers = winner_mask(dense, padding_, kept_, most_kept_).logical_not_();
  take(dense.masked_fill_(losers, 0));
  const auto value =
      objective().masked_fill_(definite_.logical_not(), std::numeric_limits<double>::quiet_NaN());
  note(value);
  return value;
}

// The best stays as it is from the iteration on at which the rule ends a job.
void Batch::note(const at::Tensor& objective) {
  const auto better = rule_.improves(objective, active_);
  best_features_ = at::where(per_job(better), features_, best_features_);
  best_coefficients_ = at::where(per_job(better), coefficients_, best_coefficients_);
  active_ = active_ & rule_.ended().logical_not_();
}

// One copy that waits: to enqueue the next chunk before it would cost more, iterations of jobs that
// have ended.
at::Tensor Batch::run(std::int64_t count) {
  std::vector<at::Tensor> objectives;
  for (std::int64_t i = 0; i < count; ++i) objectives.push_back(iterate());
  return at::stack(objectives).cpu();
}

Entries Batch::entries(std::int64_t place, const at::Tensor& coefficients) const {
  const auto count = counts_[place];
  const auto one = [&](const at::Tensor& all) { return all.slice(0, place, place + 1); };
  const auto values = one(coefficients).slice(2, 0, count);
  // Zeros that were kept are the first of all zeros: the same places win again.
  const auto kept = winner_mask(values, one(padding_).slice(1, 0, count), one(kept_),
                                kept_per_feature(count, options_.density));
  return {as_vector<std::int32_t>(kept.nonzero().select(1, 2).to(at::kInt)),
          as_vector<float>(values.masked_select(kept))};
}

Factors Batch::best(std::int64_t place) const {
  Factors out;
  out.width = best_features_.size(2);
  out.rank = best_features_.size(1);
  out.features = as_vector<float>(best_features_[place].to(at::kFloat));
  std::tie(out.rows, out.coefficients) = entries(place, best_coefficients_);
  return out;
}

void Batch::narrow(const std::vector<std::int64_t>& places) {
  const auto index = at::tensor(places, rows_.options().dtype(at::kLong));
  for (auto* tensor :
       {&rows_, &exact_rows_, &padding_, &kept_, &scale_, &square_norm_, &coefficients_, &product_,
        &gram_, &definite_, &active_, &best_features_, &best_coefficients_})
    *tensor = tensor->index_select(0, index);
  rule_.narrow(index);
  std::vector<std::int64_t> counts;
  for (const auto place : places) counts.push_back(counts_[place]);
  counts_ = std::move(counts);
}

}  // namespace quench::dictionary
