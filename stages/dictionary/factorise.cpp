#include "stages/dictionary/factorise.hpp"

#include <ATen/ATen.h>

#include <chrono>
#include <memory>

#include "cluster/collectives.hpp"
#include "cluster/error.hpp"
#include "cluster/log.hpp"
#include "stages/dictionary/alternation.hpp"
#include "stages/dictionary/gather.hpp"
#include "stages/dictionary/half_product.hpp"
#include "stages/factorisation/stop_rule.hpp"

namespace quench::dictionary {

namespace {

// Collective: all ranks choose by the same shape, whatever rows they have.
FitShape shape_of(const Shard& shard, const Options& options, cluster::Communicator& group) {
  const std::int64_t own = shard.rows.count() == 0 || shard.rows.halved() ? 1 : 0;
  const bool halved = cluster::all_reduce_value(group, own, cluster::Op::min) > 0;
  return {.rows = shard.count,
          .width = shard.rows.width(),
          .rank = options.rank,
          .kept = kept_per_feature(shard.count, options.density),
          .ranks = group.size(),
          .product_speed = halved ? HalfProduct::speed() : 1,
          .iterations = expected_iterations(options)};
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
        shape_(shape_of(shard, options, group)),
        form_(shard.device != nullptr ? Form::device : choose_form(shape_, options.form)),
        alternation_(make_alternation()),
        stop_(options) {}

  void begin(const InitialRows& initial);  // collective
  Fit finish();

 private:
  std::unique_ptr<Alternation> make_alternation() const;
  void resume(FitState state);
  void step();
  Request request() const;
  void save();
  void save_on_the_way();
  FitState state();

  const Shard& shard_;
  const Options& options_;
  cluster::Communicator& group_;
  const FitHooks& hooks_;
  FitShape shape_;
  Form form_;
  std::unique_ptr<Alternation> alternation_;
  StopRule stop_;
  Fit fit_;
  Solution best_;
  double computed_ = 0;
  std::int64_t steps_ = 0;
  std::chrono::steady_clock::time_point saved_ = std::chrono::steady_clock::now();
};

std::unique_ptr<Alternation> Run::make_alternation() const {
  if (shard_.device != nullptr)
    return make_device_alternation(shard_, options_, *shard_.device, group_);
  return form_ == Form::gram ? make_gram_alternation(shard_, options_)
                             : make_direct_alternation(shard_, form_, options_, group_);
}

void Run::begin(const InitialRows& initial) {
  std::optional<FitState> state;
  cluster::agree(group_, [&] {
    if (group_.rank() == 0 && hooks_.resume) state = hooks_.resume();
  });
  if (cluster::broadcast_value(group_, 0, std::int64_t{state ? 1 : 0}) == 0)
    alternation_->start(initial);
  else
    resume(state ? std::move(*state) : FitState{});
}

// Collective. Rank 0's numbers become everybody's.
template <typename T>
void broadcast(cluster::Communicator& group, std::vector<T>& numbers) {
  numbers.resize(cluster::broadcast_value(group, 0, std::ssize(numbers)));
  cluster::broadcast_from(group, 0, std::span(numbers));
}

// Collective. Rank 0 has the state; everybody gets its shard of G.
void Run::resume(FitState state) {
  broadcast(group_, state.objective);
  broadcast(group_, state.best_features);
  state.ridge = cluster::broadcast_value(group_, 0, state.ridge);
  state.ridge_raises = cluster::broadcast_value(group_, 0, state.ridge_raises);
  const cluster::Range own{shard_.first, shard_.first + shard_.rows.count()};
  const auto shard_of = [&](const std::vector<std::int32_t>& rows,
                            const std::vector<float>& values) {
    return scatter(rows, values, options_.rank, own, group_);
  };
  alternation_->resume(state, shard_of(state.rows, state.values));
  for (const double objective : state.objective) stop_.improves(objective);
  fit_.objective = state.objective;
  fit_.stop_reason = stop_.reason();
  const auto coefficients =
      std::make_shared<const SparseColumns>(shard_of(state.best_rows, state.best_values));
  best_.coefficients = [coefficients] { return coefficients; };
  const auto features = at::tensor(at::ArrayRef<float>(state.best_features), at::kFloat)
                            .view({options_.rank, shard_.rows.width()});
  best_.features = [features] { return features; };
}

Request Run::request() const {
  using namespace std::chrono;
  const bool due = hooks_.save && group_.rank() == 0 &&
                   duration<double>(steady_clock::now() - saved_).count() >= options_.checkpoint;
  return {hooks_.stop && hooks_.stop(), due};
}

// Collective.
void Run::step() {
  bool better = false;
  for (const double objective : alternation_->iterate(stop_, [this] { return request(); })) {
    better = stop_.improves(objective) || better;
    fit_.objective.push_back(objective);
    computed_ += alternation_->share_computed();
    ++steps_;
    if (hooks_.progress) hooks_.progress(std::ssize(fit_.objective), objective);
  }
  if (better) best_ = alternation_->best();
  fit_.stop_reason = stop_.reason();
  if (!fit_.stop_reason.empty()) return;
  if (alternation_->stop_requested() || alternation_->save_requested()) save_on_the_way();
  if (alternation_->stop_requested())
    throw Stopped("dictionary: stopped in a factorisation after iteration " +
                  std::to_string(fit_.objective.size()));
}

// Collective. A full disk must not end a fit that goes on, and one that stops is stopped.
void Run::save_on_the_way() try { save(); } catch (const DataError& error) {
  if (!error.agreed()) throw;
  saved_ = std::chrono::steady_clock::now();
  if (group_.rank() == 0)
    cluster::log_warning(std::string("dictionary: no checkpoint this time: ") + error.what());
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

// Collective. Whole on rank 0.
FitState Run::state() {
  FitState out;
  out.objective = fit_.objective;
  out.ridge = alternation_->ridge().lambda();
  out.ridge_raises = alternation_->ridge().raises();
  out.best_iteration = stop_.best_iteration();
  std::tie(out.rows, out.values) = gather(*alternation_->coefficients(), shard_.first, group_);
  std::tie(out.best_rows, out.best_values) = gather(*best_.coefficients(), shard_.first, group_);
  if (group_.rank() == 0) out.best_features = as_floats(best_.features());
  return out;
}

// Collective.
Fit Run::finish() {
  while (fit_.stop_reason.empty()) step();
  fit_.ridge = alternation_->ridge().lambda();
  fit_.best_iteration = stop_.best_iteration();
  fit_.form = name_of(form_);
  fit_.share_computed = steps_ == 0 ? 0 : computed_ / static_cast<double>(steps_);
  fit_.seconds = alternation_->seconds();
  const bool gpu = shard_.device != nullptr && shard_.device->device.is_cuda();
  fit_.predicted_seconds = predict(shape_, form_, gpu ? Machine::gpu() : Machine{})
                               .fit_seconds(static_cast<double>(steps_));
  fit_.factors.width = shard_.rows.width();
  fit_.factors.rank = options_.rank;
  fit_.factors.features = as_floats(best_.features());
  std::tie(fit_.factors.rows, fit_.factors.coefficients) =
      gather(*best_.coefficients(), shard_.first, group_);
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
