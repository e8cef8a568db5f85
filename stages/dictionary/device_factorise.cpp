#include "stages/dictionary/device_factorise.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "cluster/error.hpp"
#include "stages/dictionary/device_stop_rule.hpp"

namespace quench::dictionary {

namespace {

// First dimension: the jobs of the batch. Rows beyond a job's own are zero, and so are their
// coefficients. Nothing in iterate() waits for the device.
class Batch {
 public:
  Batch(std::span<const DeviceJob> jobs, const Options& options, at::Device device);

  // `count` more iterations; returns the objectives on the host, [count, B]: NaN from the first
  // system on that is not positive definite.
  at::Tensor run(std::int64_t count);
  // Factors of the best iteration up to the one at which the stop rule ended job `place`.
  Factors best(std::int64_t place) const;
  std::int64_t best_iteration(std::int64_t place) const {
    return rule_.best_iteration()[place].item<std::int64_t>();
  }
  // Goes on with these places only, in this order.
  void narrow(const std::vector<std::int64_t>& places);

 private:
  void load(std::span<const DeviceJob> jobs);
  void take(at::Tensor coefficients);
  at::Tensor inverse(const at::Tensor& matrix);
  at::Tensor solver();
  at::Tensor objective() const;
  at::Tensor iterate();  // the objectives, [B]
  void note(const at::Tensor& objective);

  const Options& options_;
  DeviceStopRule rule_;
  std::int64_t most_kept_ = 0;
  std::vector<std::int64_t> counts_;  // n of each job

  at::Tensor rows_;         // A^T, stored units, [B, n, d]
  at::Tensor exact_rows_;   // the same in float64
  at::Tensor padding_;      // [B, n]
  at::Tensor kept_;         // [B]
  at::Tensor scale_;        // [B, 1, 1] float64
  at::Tensor square_norm_;  // [B] float64

  at::Tensor coefficients_;    // G^T, [B, K, n]
  at::Tensor product_, gram_;  // (A G)^T and G^T G, float64
  at::Tensor features_;        // F^T, [B, K, d] float64
  at::Tensor features_gram_;   // F^T F, or F F^T where that is the smaller one
  at::Tensor definite_;        // [B]: all systems were, so far
  at::Tensor active_;          // [B]: the stop rule has not ended it
  at::Tensor best_features_, best_coefficients_;
};

at::Tensor per_job(const at::Tensor& values) { return values.view({-1, 1, 1}); }

Batch::Batch(std::span<const DeviceJob> jobs, const Options& options, at::Device device)
    : options_(options), rule_(std::vector<StopRule>(jobs.size(), StopRule(options)), device) {
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
  active_ = definite_.clone();
  load(jobs);
}

void Batch::load(std::span<const DeviceJob> jobs) {
  const auto width = rows_.size(2);
  for (std::size_t b = 0; b < jobs.size(); ++b) {
    const auto count = counts_[b];
    const auto place = static_cast<std::int64_t>(b);
    const auto rows = at::empty({count, width}, at::kFloat);
    jobs[b].rows.get().copy(0, count, rows.mutable_data_ptr<float>());
    rows_[place].slice(0, 0, count).copy_(rows);
    coefficients_[place].slice(1, 0, count).copy_(jobs[b].initial(0, count).t());
  }
  exact_rows_ = rows_.to(at::kDouble);
  take(coefficients_);
  best_coefficients_ = coefficients_;
  best_features_ = at::zeros_like(product_);
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

Factors Batch::best(std::int64_t place) const {
  const auto count = counts_[place];
  const auto one = [&](const at::Tensor& all) { return all.slice(0, place, place + 1); };
  const auto values = one(best_coefficients_).slice(2, 0, count);
  // Zeros that were kept are the first of all zeros: the same places win again.
  const auto kept = winner_mask(values, one(padding_).slice(1, 0, count), one(kept_),
                                kept_per_feature(count, options_.density));
  const auto rows = kept.nonzero().select(1, 2).to(at::kInt).cpu().contiguous();
  const auto found = values.masked_select(kept).cpu();
  const auto features = best_features_[place].to(at::kFloat).cpu().contiguous();
  Factors out;
  out.width = features.size(1);
  out.rank = features.size(0);
  const auto copy = [](const auto* from, const at::Tensor& tensor, auto& to) {
    to.assign(from, from + tensor.numel());
  };
  copy(features.const_data_ptr<float>(), features, out.features);
  copy(rows.const_data_ptr<std::int32_t>(), rows, out.rows);
  copy(found.const_data_ptr<float>(), found, out.coefficients);
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

// A job of the batch as the host follows it.
struct Followed {
  std::int64_t job;
  StopRule rule;
  Fit fit;
  bool lost = false;  // not to be finished here

  bool ended() const { return lost || !fit.stop_reason.empty(); }
  // The next objective.
  void take(double objective) {
    lost = !std::isfinite(objective);
    if (lost) return;
    fit.objective.push_back(objective);
    rule.improves(objective);
    fit.stop_reason = rule.reason();
  }
};

Fit finish(const Followed& followed, const Batch& batch, std::int64_t place, double ridge) {
  auto fit = followed.fit;
  fit.best_iteration = followed.rule.best_iteration();
  if (batch.best_iteration(place) != fit.best_iteration)
    throw InternalError("the device took another iteration for the best one");
  fit.factors = batch.best(place);
  fit.ridge = ridge;
  fit.form = "batched";
  return fit;
}

// The batch with those that have not ended, once they are half of it or fewer.
void drop_ended(Batch& batch, std::vector<Followed>& followed) {
  std::vector<std::int64_t> places;
  for (std::int64_t place = 0; place < std::ssize(followed); ++place)
    if (!followed[place].ended()) places.push_back(place);
  if (places.empty() || 2 * places.size() > followed.size()) return;
  batch.narrow(places);
  std::erase_if(followed, [](const Followed& one) { return one.ended(); });
}

}  // namespace

at::Tensor winner_mask(const at::Tensor& values, const at::Tensor& padding, const at::Tensor& kept,
                       std::int64_t most) {
  const auto sizes = per_job(kept);
  const auto magnitudes = values.abs().masked_fill_(padding.unsqueeze(1), -1);
  const auto largest = std::get<0>(magnitudes.topk(most));
  const auto least = largest.gather(2, (sizes - 1).expand({-1, values.size(1), 1}));
  const auto above = magnitudes > least;
  const auto equal = magnitudes == least;
  const auto room = sizes - above.sum({2}, /*keepdim=*/true);
  return above | (equal & (equal.cumsum(2, at::kInt) <= room));
}

double device_bytes(std::int64_t rows, std::int64_t width, std::int64_t rank) {
  // A in both precisions, half of it again while a batch is narrowed; some ten of G and of F.
  const auto numbers = 5 * rows * width + 12 * rank * rows + 20 * rank * width + 20 * rank * rank;
  return 4.0 * static_cast<double>(numbers);
}

std::vector<std::optional<Fit>> factorise_batch(std::span<const DeviceJob> jobs,
                                                const Options& options, at::Device device,
                                                const std::function<bool()>& stop,
                                                std::int64_t chunk) {
  std::vector<std::optional<Fit>> fits(jobs.size());
  if (jobs.empty()) return fits;
  if (device.is_cuda()) at::globalContext().setAllowTF32CuBLAS(false);
  const auto start = std::chrono::steady_clock::now();
  Batch batch(jobs, options, device);
  std::vector<Followed> followed;
  for (std::int64_t job = 0; job < std::ssize(jobs); ++job)
    followed.push_back({job, StopRule(options), {}});
  const auto all_ended = [&] { return std::ranges::all_of(followed, &Followed::ended); };
  for (std::int64_t done = 0; !all_ended(); done += chunk) {
    if (stop && stop()) throw Stopped("dictionary: stopped in a batch of factorisations");
    const auto count = std::min(chunk, options.max_iterations - done);
    const auto trace = batch.run(count);
    const auto objectives = trace.accessor<double, 2>();
    for (std::int64_t place = 0; place < std::ssize(followed); ++place) {
      auto& one = followed[place];
      if (one.ended()) continue;
      for (std::int64_t i = 0; i < count && !one.ended(); ++i) one.take(objectives[i][place]);
      if (one.ended() && !one.lost) fits[one.job] = finish(one, batch, place, options.ridge);
    }
    drop_ended(batch, followed);
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  for (auto& fit : fits)
    if (fit) fit->seconds.dense = seconds.count() / static_cast<double>(jobs.size());
  return fits;
}

}  // namespace quench::dictionary
