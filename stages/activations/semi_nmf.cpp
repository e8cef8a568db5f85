#include "stages/activations/semi_nmf.hpp"

#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "cluster/collectives.hpp"
#include "cluster/error.hpp"
#include "cluster/log.hpp"
#include "cluster/random.hpp"
#include "stages/activations/sparse_features.hpp"
#include "stages/factorisation/ridge_system.hpp"

namespace quench::activations {

namespace {

using cluster::DType;

// In float64, of a few rows at a time: their copies are small.
double sum_of_squares(const at::Tensor& activations) {
  constexpr std::int64_t panel = 64;
  double sum = 0;
  for (std::int64_t first = 0; first < activations.size(0); first += panel) {
    const auto part = activations.slice(0, first, std::min(first + panel, activations.size(0)));
    sum += part.to(at::kDouble).square_().sum().item<double>();
  }
  return sum;
}

// X X^T in float64, of float32 numbers.
at::Tensor gram_of_rows(const at::Tensor& x) {
  const auto exact = x.to(at::kDouble);
  return at::mm(exact, exact.t());
}

// What one iteration ends with; the same bits on all ranks.
struct Verdict {
  double objective = 0;
  bool stop = false, save = false;  // asked by any rank
};

// The alternation of methods 3.2. G is held transposed, [K, own positions]; tensors are replaced,
// never written to, so that whoever keeps a handle keeps that iteration's numbers.
class Alternation {
 public:
  Alternation(const Positions& positions, const Options& options, cluster::Communicator& group);

  void start(at::Tensor g, double ridge, std::int64_t ridge_raises);
  // Collective.
  Verdict iterate(bool stop, bool save);

  const NeuronFeatures& features() const { return features_; }
  const at::Tensor& g() const { return g_; }
  const RidgeSystem& ridge() const { return ridge_; }

 private:
  void sum_products();
  void update_features();
  at::Tensor update_g();
  Verdict judge(const at::Tensor& projections, bool stop, bool save);

  const Positions& positions_;
  cluster::Communicator& group_;
  RidgeSystem ridge_;
  double own_square_norm_;
  std::int64_t kept_;
  at::Tensor g_, own_gram_;  // G^T and G^T G of this rank's positions
  NeuronFeatures features_;
  at::Tensor features_gram_;   // F^T F
  at::Tensor sums_;            // what ranks add up: (A G)^T, G^T G
  at::Tensor product_, gram_;  // views of it: [K, width], [K, K]
};

Alternation::Alternation(const Positions& positions, const Options& options,
                         cluster::Communicator& group)
    : positions_(positions),
      group_(group),
      ridge_(options.ridge),
      own_square_norm_(sum_of_squares(positions.activations)) {
  const auto rank = options.rank, width = positions.activations.size(0);
  kept_ = kept_per_feature(width, options.density);
  sums_ = at::empty({rank * width + rank * rank}, at::kDouble);
  product_ = sums_.slice(0, 0, rank * width).view({rank, width});
  gram_ = sums_.slice(0, rank * width).view({rank, rank});
}

void Alternation::start(at::Tensor g, double ridge, std::int64_t ridge_raises) {
  ridge_ = RidgeSystem(ridge, ridge_raises);
  g_ = std::move(g);
  own_gram_ = gram_of_rows(g_);
}

// Collective. Panels bound how long a float32 sum becomes.
void Alternation::sum_products() {
  constexpr std::int64_t panel = 4096;
  product_.zero_();
  for (std::int64_t first = 0; first < positions_.own(); first += panel) {
    const auto end = std::min(first + panel, positions_.own());
    product_.add_(at::mm(g_.slice(1, first, end), positions_.activations.slice(1, first, end).t()));
  }
  gram_.copy_(own_gram_);
  if (group_.size() == 1) return;
  group_.all_reduce({sums_.mutable_data_ptr<double>(), sums_.numel(), DType::f64},
                    cluster::Op::sum);
}

// Steps 1 to 3 of the reference, the last for F; G follows in update_g().
void Alternation::update_features() {
  const auto scales = gram_.diagonal().sqrt().clamp_min(1e-8);
  features_ = keep_largest(ridge_.solve(gram_, product_), kept_, scales);
  features_gram_ = gram_of(features_);
}

// Step 3 for G, and step 4. Returns F^T A.
at::Tensor Alternation::update_g() {
  const auto scales = gram_.diagonal().sqrt().clamp_min(1e-8).unsqueeze(1).to(at::kFloat);
  const auto g = g_ / scales;
  auto projections = product(features_, positions_.activations);
  const auto gram = features_gram_.to(at::kFloat);
  const auto over = projections.clamp_min(0).add_(at::mm((-gram).clamp_min_(0), g));
  const auto under = (-projections).clamp_min_(0).add_(at::mm(gram.clamp_min(0), g)).add_(1e-6);
  g_ = g * (over / under).sqrt_();
  own_gram_ = gram_of_rows(g_);
  return projections;
}

// Collective. Step 5 without a residual: ||A||^2 - 2 <A^T F, G> + <F^T F, G^T G>, each rank's part
// of it summed.
Verdict Alternation::judge(const at::Tensor& projections, bool stop, bool save) {
  const double cross = (projections * g_).sum(at::kDouble).item<double>();
  const double model = (features_gram_ * own_gram_).sum().item<double>();
  std::vector<double> parts{own_square_norm_ - 2 * cross + model, stop ? 1.0 : 0.0,
                            save ? 1.0 : 0.0};
  cluster::all_reduce_sum(group_, std::span<double>(parts));
  if (!std::isfinite(parts[0]))
    throw DataError("the factorisation overflows: activations are not finite or too large");
  return {std::max(0.0, parts[0]), parts[1] > 0, parts[2] > 0};  // rounding may go below 0
}

Verdict Alternation::iterate(bool stop, bool save) {
  sum_products();
  update_features();
  const auto projections = update_g();
  return judge(projections, stop, save);
}

// A fit on its way: the alternation, when to stop it, and the best of it.
class Run {
 public:
  Run(const Positions& positions, const Options& options, cluster::Communicator& group,
      const FitHooks& hooks)
      : positions_(positions),
        options_(options),
        group_(group),
        hooks_(hooks),
        alternation_(positions, options, group),
        stop_(options) {}

  void begin(const std::string& purpose);
  Fit finish();

 private:
  void step();
  void save();
  void save_on_the_way();
  void add_statistics(NeuronFeatures& features);
  std::vector<float> gather(const at::Tensor& g);
  at::Tensor own_rows(const std::vector<float>& g) const;

  const Positions& positions_;
  const Options& options_;
  cluster::Communicator& group_;
  const FitHooks& hooks_;
  Alternation alternation_;
  StopRule stop_;
  Fit fit_;
  NeuronFeatures best_features_;
  at::Tensor best_g_;
  std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
  std::chrono::steady_clock::time_point saved_ = begun_;
};

void Run::begin(const std::string& purpose) {
  if (hooks_.resume == nullptr) {
    alternation_.start(initial_g(options_, purpose, positions_.first, positions_.own()),
                       options_.ridge, 0);
    return;
  }
  const auto& state = *hooks_.resume;
  alternation_.start(own_rows(state.g), state.ridge, state.ridge_raises);
  for (const double objective : state.objective) stop_.improves(objective);
  fit_.objective = state.objective;
  fit_.stop_reason = stop_.reason();
  best_features_ = state.best_features;
  best_g_ = own_rows(state.best_g);
}

void Run::step() {
  using namespace std::chrono;
  const bool due = hooks_.save && group_.rank() == 0 &&
                   duration<double>(steady_clock::now() - saved_).count() >= options_.checkpoint;
  const auto verdict = alternation_.iterate(hooks_.stop && hooks_.stop(), due);
  fit_.objective.push_back(verdict.objective);
  if (stop_.improves(verdict.objective)) {
    best_features_ = alternation_.features();
    best_g_ = alternation_.g();
  }
  fit_.stop_reason = stop_.reason();
  if (!fit_.stop_reason.empty()) return;
  if (verdict.stop || verdict.save) save_on_the_way();
  if (verdict.stop)
    throw Stopped("activations: stopped in a factorisation after iteration " +
                  std::to_string(fit_.objective.size()));
}

// Collective. G of all ranks, [T, K].
std::vector<float> Run::gather(const at::Tensor& g) {
  const auto rows = g.t().contiguous();
  return cluster::all_gather(group_, std::span(rows.const_data_ptr<float>(),
                                               static_cast<std::size_t>(rows.numel())))
      .values;
}

// The other way.
at::Tensor Run::own_rows(const std::vector<float>& g) const {
  const auto all =
      at::tensor(at::ArrayRef<float>(g), at::kFloat).view({positions_.count, options_.rank});
  return all.slice(0, positions_.first, positions_.first + positions_.own()).t().contiguous();
}

// Collective.
void Run::save() {
  if (!hooks_.save) return;
  hooks_.save({fit_.objective, alternation_.ridge().lambda(), alternation_.ridge().raises(),
               gather(alternation_.g()), gather(best_g_), best_features_});
  saved_ = std::chrono::steady_clock::now();
}

// Collective. A full disk must not end a fit that goes on, and one that stops is stopped.
void Run::save_on_the_way() try { save(); } catch (const DataError& error) {
  if (!error.agreed()) throw;
  saved_ = std::chrono::steady_clock::now();
  if (group_.rank() == 0)
    cluster::log_warning(std::string("activations: no checkpoint this time: ") + error.what());
}

// Collective. Methods 4.2.
void Run::add_statistics(NeuronFeatures& features) {
  const auto own_concept =
      std::clamp<std::int64_t>(positions_.of_concept - positions_.first, 0, positions_.own());
  const auto sums =
      at::cat({best_g_.slice(1, 0, own_concept).sum(at::IntArrayRef{1}, false, at::kDouble),
               best_g_.slice(1, own_concept).sum(at::IntArrayRef{1}, false, at::kDouble)});
  cluster::all_reduce_sum(
      group_, std::span(sums.mutable_data_ptr<double>(), static_cast<std::size_t>(sums.numel())));
  const auto mean = [&](std::int64_t place, std::int64_t positions) {
    return positions == 0 ? 0 : sums[place].item<double>() / static_cast<double>(positions);
  };
  for (std::int64_t k = 0; k < options_.rank; ++k) {
    features.mean_concept.push_back(mean(k, positions_.of_concept));
    features.mean_neutral.push_back(
        mean(options_.rank + k, positions_.count - positions_.of_concept));
    features.ratio.push_back(features.mean_concept[k] / (features.mean_neutral[k] + 1e-8));
  }
}

// Collective.
Fit Run::finish() {
  while (fit_.stop_reason.empty()) step();
  fit_.features = std::move(best_features_);
  add_statistics(fit_.features);
  fit_.positions = positions_.count;
  fit_.concept_positions = positions_.of_concept;
  fit_.ridge = alternation_.ridge().lambda();
  fit_.best_iteration = stop_.best_iteration();
  if (options_.save_g) fit_.g = gather(best_g_);
  fit_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun_).count();
  return std::move(fit_);
}

}  // namespace

at::Tensor initial_g(const Options& options, const std::string& purpose, std::int64_t first,
                     std::int64_t count) {
  const cluster::KeyedRandom random(static_cast<std::uint64_t>(options.seed),
                                    "activations.init/" + purpose);
  auto out = at::empty({options.rank, count}, at::kFloat);
  float* values = out.mutable_data_ptr<float>();
  at::parallel_for(0, options.rank * count, 4096, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = begin; i < end; ++i) {
      const auto k = i / count, row = first + i % count;
      values[i] = std::max(1e-6F, static_cast<float>(random.uniform(row * options.rank + k)));
    }
  });
  return out;
}

Fit factorise(const Positions& positions, const Options& options, const std::string& purpose,
              cluster::Communicator& group, const FitHooks& hooks) {
  if (positions.count == 0) throw DataError("no positions to factorise: no sentence has a token");
  Run run(positions, options, group, hooks);
  run.begin(purpose);
  return run.finish();
}

}  // namespace quench::activations
