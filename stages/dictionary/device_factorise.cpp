#include "stages/dictionary/device_factorise.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <tuple>

#include "cluster/error.hpp"
#include "cluster/log.hpp"
#include "stages/dictionary/cost_model.hpp"
#include "stages/dictionary/device_batch.hpp"
#include "stages/factorisation/stop_rule.hpp"

namespace quench::dictionary {

namespace {

// A job of the batch as the host follows it.
struct Followed {
  std::int64_t job;
  StopRule rule;
  Fit fit = {};
  bool lost = false;  // not to be finished here

  bool ended() const { return lost || !fit.stop_reason.empty(); }
  // The next objective.
  void take(double objective) {
    lost = !std::isfinite(objective);
    if (lost) return;
    fit.objective.push_back(objective);
    rule.improves(objective);
    fit.best_iteration = rule.best_iteration();
    fit.stop_reason = rule.reason();
  }
};

std::vector<Followed> follow(std::span<const DeviceJob> jobs, const Options& options) {
  std::vector<Followed> out;
  for (const auto& job : jobs) {
    auto& one = out.emplace_back(Followed{std::ssize(out), StopRule(options)});
    one.fit.ridge = options.ridge;
    one.fit.form = name_of(Form::batched);
    if (job.resume != nullptr)
      for (const double objective : job.resume->objective) one.take(objective);
  }
  return out;
}

std::vector<StopRule> rules_of(const std::vector<Followed>& followed) {
  std::vector<StopRule> out;
  for (const auto& one : followed) out.push_back(one.rule);
  return out;
}

// Of a fit on its way or at its end; last: G of the iteration that it goes on from.
FitState state_of(const Fit& fit, const Factors& best, Entries last) {
  FitState out;
  out.objective = fit.objective;
  out.ridge = fit.ridge;
  out.best_iteration = fit.best_iteration;
  std::tie(out.rows, out.values) = std::move(last);
  out.best_rows = best.rows;
  out.best_values = best.coefficients;
  out.best_features = best.features;
  return out;
}

// The fits of a batch on their way.
class Run {
 public:
  Run(std::span<const DeviceJob> jobs, const Options& options, at::Device device,
      const BatchHooks& hooks);

  // `chunk` iterations between two looks of the host.
  std::vector<std::optional<Fit>> finish(std::int64_t chunk);

 private:
  void advance(std::int64_t count);
  void collect();
  void drop_ended();
  bool due() const;
  void save();
  void save(std::int64_t job, const Fit& fit, const std::function<FitState()>& state);

  const Options& options_;
  const BatchHooks& hooks_;
  std::vector<Followed> followed_;  // by place in the batch
  Batch batch_;
  std::vector<std::optional<Fit>> fits_;  // by job; those that have ended
  std::vector<std::size_t> saved_;        // by job: iterations that its checkpoint holds
  std::chrono::steady_clock::time_point saved_at_ = std::chrono::steady_clock::now();
};

Run::Run(std::span<const DeviceJob> jobs, const Options& options, at::Device device,
         const BatchHooks& hooks)
    : options_(options),
      hooks_(hooks),
      followed_(follow(jobs, options)),
      batch_(jobs, rules_of(followed_), options, device),
      fits_(jobs.size()) {
  for (const auto& one : followed_) saved_.push_back(one.fit.objective.size());
}

std::vector<std::optional<Fit>> Run::finish(std::int64_t chunk) {
  for (;;) {
    collect();
    drop_ended();
    if (std::ranges::all_of(followed_, &Followed::ended)) return std::move(fits_);
    const bool stop = hooks_.stop && hooks_.stop();
    if (stop || due()) save();
    if (stop) throw Stopped("dictionary: stopped in a batch of factorisations");
    advance(chunk);
  }
}

void Run::advance(std::int64_t count) {
  std::int64_t left = 0;
  for (const auto& one : followed_)
    if (!one.ended()) left = std::max(left, one.rule.left());
  const auto trace = batch_.run(std::min(count, left));
  const auto objectives = trace.accessor<double, 2>();
  for (std::int64_t place = 0; place < std::ssize(followed_); ++place)
    for (std::int64_t i = 0; i < trace.size(0) && !followed_[place].ended(); ++i)
      followed_[place].take(objectives[i][place]);
}

// The fits of those that have ended since the last look.
void Run::collect() {
  for (std::int64_t place = 0; place < std::ssize(followed_); ++place) {
    const auto& one = followed_[place];
    auto& fit = fits_[one.job];
    if (!one.ended() || one.lost || fit) continue;
    if (batch_.best_iteration(place) != one.fit.best_iteration)
      throw InternalError("the device took another iteration for the best one");
    fit = one.fit;
    fit->factors = batch_.best(place);
  }
}

// The batch goes on with those that have not ended, once they are half of it or fewer.
void Run::drop_ended() {
  std::vector<std::int64_t> places;
  for (std::int64_t place = 0; place < std::ssize(followed_); ++place)
    if (!followed_[place].ended()) places.push_back(place);
  if (places.empty() || 2 * places.size() > followed_.size()) return;
  batch_.narrow(places);
  std::erase_if(followed_, [](const Followed& one) { return one.ended(); });
}

bool Run::due() const {
  const std::chrono::duration<double> since = std::chrono::steady_clock::now() - saved_at_;
  return since.count() >= options_.checkpoint;
}

// A full disk must not end fits that go on, and those that stop are stopped.
void Run::save() try {
  saved_at_ = std::chrono::steady_clock::now();
  for (std::int64_t place = 0; place < std::ssize(followed_); ++place)
    if (const auto& one = followed_[place]; !one.ended())
      save(one.job, one.fit,
           [&] { return state_of(one.fit, batch_.best(place), batch_.last(place)); });
  for (std::int64_t job = 0; job < std::ssize(fits_); ++job)
    if (const auto& fit = fits_[job])  // what it goes on from does not matter any more
      save(job, *fit, [&] {
        return state_of(*fit, fit->factors, {fit->factors.rows, fit->factors.coefficients});
      });
} catch (const DataError& error) {
  cluster::log_warning(std::string("dictionary: no checkpoint this time: ") + error.what());
}

void Run::save(std::int64_t job, const Fit& fit, const std::function<FitState()>& state) {
  if (!hooks_.save || saved_[job] == fit.objective.size()) return;
  hooks_.save(job, state());
  saved_[job] = fit.objective.size();
}

}  // namespace

at::Tensor winner_mask(const at::Tensor& values, const at::Tensor& padding, const at::Tensor& kept,
                       std::int64_t most) {
  const auto sizes = kept.view({-1, 1, 1});
  const auto magnitudes = values.abs().masked_fill_(padding.unsqueeze(1), -1);
  const auto largest = std::get<0>(magnitudes.topk(most));
  const auto least = largest.gather(2, (sizes - 1).expand({-1, values.size(1), 1}));
  const auto above = magnitudes > least;
  const auto equal = magnitudes == least;
  const auto room = sizes - above.sum({2}, /*keepdim=*/true);
  return above | (equal & (equal.cumsum(2, at::kInt) <= room));
}

std::vector<std::optional<Fit>> factorise_batch(std::span<const DeviceJob> jobs,
                                                const Options& options, at::Device device,
                                                const BatchHooks& hooks, std::int64_t chunk) {
  if (jobs.empty()) return {};
  if (device.is_cuda()) at::globalContext().setAllowTF32CuBLAS(false);
  const auto start = std::chrono::steady_clock::now();
  auto fits = Run(jobs, options, device, hooks).finish(chunk);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  const auto machine = device.is_cuda() ? Machine::gpu() : Machine{};
  for (std::size_t i = 0; i < fits.size(); ++i) {
    if (!fits[i]) continue;
    const Rows& rows = jobs[i].rows;
    const FitShape shape{rows.count(), rows.width(), options.rank,
                         kept_per_feature(rows.count(), options.density)};
    const auto before = jobs[i].resume == nullptr ? 0 : std::ssize(jobs[i].resume->objective);
    fits[i]->seconds.dense = seconds.count() / static_cast<double>(jobs.size());
    fits[i]->predicted_seconds =
        predict(shape, Form::batched, machine)
            .fit_seconds(static_cast<double>(std::ssize(fits[i]->objective) - before));
  }
  return fits;
}

}  // namespace quench::dictionary
