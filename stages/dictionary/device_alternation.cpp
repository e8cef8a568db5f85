#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "cluster/collectives.hpp"
#include "cluster/error.hpp"
#include "stages/dictionary/alternation.hpp"
#include "stages/dictionary/device_stop_rule.hpp"
#include "stages/dictionary/device_sums.hpp"
#include "stages/dictionary/device_winners.hpp"
#include "stages/dictionary/laps.hpp"
#include "stages/dictionary/panels.hpp"

namespace quench::dictionary {

namespace {

// Host copies of entries, as the rest of the program has them.
std::shared_ptr<const SparseColumns> on_host(const DeviceEntries& entries) {
  const auto rows = entries.rows.cpu(), values = entries.values.cpu(), won = entries.won.cpu();
  const auto least = entries.least.cpu();
  auto out = std::make_shared<SparseColumns>();
  const auto most = rows.size(1);
  std::vector<std::int64_t> order;
  for (std::int64_t k = 0; k < rows.size(0); ++k) {
    const auto* row = rows.const_data_ptr<std::int64_t>() + k * most;
    const auto* value = values.const_data_ptr<float>() + k * most;
    const auto* is_won = won.const_data_ptr<bool>() + k * most;
    order.clear();
    for (std::int64_t i = 0; i < most; ++i)
      if (is_won[i]) order.push_back(i);
    std::ranges::sort(order, {}, [&](auto i) { return row[i]; });
    for (const auto i : order) {
      out->rows.push_back(static_cast<std::int32_t>(row[i]));
      out->values.push_back(value[i]);
    }
    out->offsets.push_back(std::ssize(out->rows));
  }
  out->least_kept.assign(least.const_data_ptr<float>(),
                         least.const_data_ptr<float>() + least.numel());
  return out;
}

// Room for `most` entries a column, none of which is won.
DeviceEntries no_entries(std::int64_t columns, std::int64_t most, at::Device device) {
  const at::TensorOptions there(device);
  return {at::zeros({columns, most}, there.dtype(at::kLong)),
          at::zeros({columns, most}, there.dtype(at::kFloat)),
          at::zeros({columns, most}, there.dtype(at::kBool)),
          at::zeros({columns}, there.dtype(at::kFloat))};
}

// The other way.
DeviceEntries on_device(const SparseColumns& sparse, std::int64_t most, at::Device device) {
  const auto [rows, values, won, least] = no_entries(sparse.columns(), most, at::kCPU);
  for (std::int64_t k = 0; k < sparse.columns(); ++k) {
    const auto first = sparse.offsets[k], count = sparse.offsets[k + 1] - first;
    std::copy_n(sparse.rows.begin() + first, count,
                rows.mutable_data_ptr<std::int64_t>() + k * most);
    std::copy_n(sparse.values.begin() + first, count, values.mutable_data_ptr<float>() + k * most);
    std::fill_n(won.mutable_data_ptr<bool>() + k * most, count, true);
  }
  std::ranges::copy(sparse.least_kept, least.mutable_data_ptr<float>());
  return {rows.to(device), values.to(device), won.to(device), least.to(device)};
}

// What is `from` where `chosen`, [1] bool, holds, and else `otherwise`.
DeviceEntries where(const at::Tensor& chosen, const DeviceEntries& from,
                    const DeviceEntries& otherwise) {
  const auto one = [&](const at::Tensor& a, const at::Tensor& b) {
    return at::where(chosen, a, b);
  };
  return {one(from.rows, otherwise.rows), one(from.values, otherwise.values),
          one(from.won, otherwise.won), one(from.least, otherwise.least)};
}

// What ranks add up in an iteration, in one piece of memory.
struct Sums {
  at::Tensor all;      // [K d + K^2 + 3] float64
  at::Tensor product;  // (A G)^T, [K, d], a view
  at::Tensor gram;     // G^T G, [K, K], a view
  at::Tensor flags;    // stop, save, singular: of how many ranks, a view

  Sums(at::Tensor numbers, std::int64_t rank, std::int64_t width)
      : all(std::move(numbers)),
        product(all.slice(0, 0, rank * width).view({rank, width})),
        gram(all.slice(0, rank * width, rank * (width + rank)).view({rank, rank})),
        flags(all.slice(0, rank * (width + rank))) {}
  Sums(std::int64_t rank, std::int64_t width, at::Device device)
      : Sums(at::zeros({rank * (width + rank) + 3}, at::TensorOptions(device).dtype(at::kDouble)),
             rank, width) {}
};

// What the host is told of an iteration, on the device; places in a line of float64.
namespace report {
constexpr std::int64_t objective = 0;
constexpr std::int64_t stop = 1, save = 2, singular = 3;  // of how many ranks
constexpr std::int64_t taken = 4;                         // 0: F and G stayed as they were
}  // namespace report

// The rows, F, A G and G stay on the device; the host reads reports, some iterations at a time.
class DeviceAlternation final : public Alternation {
 public:
  DeviceAlternation(const Shard& shard, const Options& options, const DevicePlace& place,
                    cluster::Communicator& group);

  void start(const InitialRows& initial) override;
  void resume(const FitState& state, SparseColumns coefficients) override;
  std::vector<double> iterate(const StopRule& rule, const std::function<Request()>& ask) override;
  std::shared_ptr<const SparseColumns> coefficients() const override { return on_host(entries_); }
  Solution best() const override {
    return {[features = best_features_] { return features.cpu(); },
            [entries = best_entries_] { return on_host(entries); }};
  }
  double share_computed() const override { return 1; }

 private:
  struct Solved;
  Solved solve(const Sums& sums) const;
  at::Tensor solve(const at::Tensor& matrix, const at::Tensor& right_side,
                   at::Tensor& singular) const;
  void add_product(const DeviceEntries& entries, Sums& to) const;
  void add_gram(const DeviceEntries& entries, Sums& to) const;
  at::Tensor objective(const Solved& solved, const Sums& sums) const;
  void begin(Sums sums, DeviceEntries entries);
  std::vector<at::Tensor> enqueue(const StopRule& rule, const std::function<Request()>& ask);
  at::Tensor step(const Request& asked, DeviceStopRule& rule);
  at::Tensor take(const at::Tensor& report, DeviceStopRule& rule, const Solved& solved,
                  const DeviceEntries& entries, const Sums& sums);
  std::vector<double> read(const at::Tensor& reports);

  const Shard& shard_;
  const DevicePlace& place_;
  cluster::Communicator& group_;  // of hosts
  std::int64_t rank_;
  std::int64_t most_here_;  // entries of a column of G at most on this rank
  double square_norm_ = 0;  // of all ranks
  at::Tensor rows_;         // A^T, stored units, [count, d] float32
  DeviceEntries entries_;   // G
  std::optional<Sums> sums_;
  at::Tensor best_features_;  // F^T, [K, d] float64
  DeviceEntries best_entries_;
  at::Tensor going_;  // [1] bool: what the next iteration gives counts
  Request refused_;   // what was asked for with iterations that do not count
};

// F of a G, and what G follows from.
struct DeviceAlternation::Solved {
  at::Tensor features;  // F^T, [K, d] float64
  at::Tensor gram;      // F^T F, or F F^T where that is the smaller one
  at::Tensor vectors;   // F~^T, [K, d] float32
  at::Tensor singular;  // [1] float64: systems that are not positive definite
};

DeviceAlternation::DeviceAlternation(const Shard& shard, const Options& options,
                                     const DevicePlace& place, cluster::Communicator& group)
    : Alternation(options.ridge, kept_per_feature(shard.count, options.density)),
      shard_(shard),
      place_(place),
      group_(group),
      rank_(options.rank),
      most_here_(std::min(kept_, shard.rows.count())) {
  if (place.device.is_cuda()) at::globalContext().setAllowTF32CuBLAS(false);
  const auto on_device = at::TensorOptions(place.device);
  cluster::agree(group, [&] {  // the device may have too little memory
    rows_ = at::empty({shard.rows.count(), shard.rows.width()}, on_device.dtype(at::kFloat));
  });
  auto square_norm = at::full({1}, shard.rows.square_norm(), on_device.dtype(at::kDouble));
  sum_over_ranks(square_norm, place.comm);
  if (place.wait) place.wait();
  square_norm_ = square_norm.item<double>();
  constexpr std::int64_t panel_numbers = std::int64_t{1} << 24;
  for_each_panel(shard.rows, panel_numbers / shard.rows.width(),
                 [&](const at::Tensor& panel, std::int64_t first) {
                   rows_.slice(0, first, first + panel.size(0)).copy_(panel);
                 });
}

// A G_0 and G_0^T G_0, a panel of rows at a time.
void DeviceAlternation::start(const InitialRows& initial) {
  Laps laps;
  constexpr std::int64_t panel_numbers = std::int64_t{1} << 24;
  Sums sums(rank_, rows_.size(1), place_.device);
  const auto most = std::max<std::int64_t>(1, panel_numbers / std::max(rank_, rows_.size(1)));
  // A G_0 of a file may be refused.
  cluster::agree(group_, [&] {
    for (std::int64_t first = 0; first < rows_.size(0); first += most) {
      const auto panel = rows_.slice(0, first, std::min(first + most, rows_.size(0)));
      const auto g = initial(shard_.first + first, panel.size(0)).to(place_.device, at::kDouble);
      sums.product.add_(at::mm(g.t(), panel.to(at::kDouble)), shard_.rows.scale());
      sums.gram.add_(at::mm(g.t(), g));
    }
  });
  sum_over_ranks(sums.all, place_.comm);
  begin(std::move(sums), no_entries(rank_, most_here_, place_.device));
  laps.lap(seconds_.start);
}

void DeviceAlternation::resume(const FitState& state, SparseColumns coefficients) {
  ridge_ = RidgeSystem(state.ridge, state.ridge_raises);
  const auto entries = on_device(coefficients, most_here_, place_.device);
  Sums sums(rank_, rows_.size(1), place_.device);
  add_product(entries, sums);
  add_gram(entries, sums);
  sum_over_ranks(sums.all, place_.comm);
  begin(std::move(sums), entries);
}

// No F is better than what came before.
void DeviceAlternation::begin(Sums sums, DeviceEntries entries) {
  sums_ = std::move(sums);
  entries_ = best_entries_ = std::move(entries);
  best_features_ = at::zeros_like(sums_->product);
}

// (M + lambda I)^-1 times the right side. By triangles: cholesky_inverse() waits for the device.
at::Tensor DeviceAlternation::solve(const at::Tensor& matrix, const at::Tensor& right_side,
                                    at::Tensor& singular) const {
  auto system = matrix.clone();
  system.diagonal().add_(ridge_.lambda());
  const auto [factor, info] = at::linalg_cholesky_ex(system);
  singular = singular + (info != 0).to(at::kDouble);
  const auto half = at::linalg_solve_triangular(factor, right_side, /*upper=*/false);
  return at::linalg_solve_triangular(factor.t(), half, /*upper=*/true);
}

// As the host does (direct_alternation.cpp), but that a singular system is only told.
DeviceAlternation::Solved DeviceAlternation::solve(const Sums& sums) const {
  Solved out;
  out.singular = at::zeros({1}, sums.all.options());
  out.features = solve(sums.gram, sums.product, out.singular);
  out.features.mul_(sums.gram.diagonal().sqrt().clamp_min(1e-8).unsqueeze(1));
  const auto& f = out.features;
  at::Tensor exact;
  if (f.size(0) <= f.size(1)) {
    out.gram = at::mm(f, f.t());
    exact = solve(out.gram, f, out.singular);
  } else {
    out.gram = at::mm(f.t(), f);
    exact = solve(out.gram, f.t(), out.singular).t();
  }
  out.vectors = (exact * shard_.rows.scale()).to(at::kFloat);
  return out;
}

// A G in float64, from the rows that the entries name.
void DeviceAlternation::add_product(const DeviceEntries& entries, Sums& to) const {
  const auto most = entries.rows.size(1), width = rows_.size(1);
  if (most == 0) return;
  const auto block = columns_a_block(most * width * 12);
  for (std::int64_t begin = 0; begin < rank_; begin += block) {
    const auto end = std::min(begin + block, rank_);
    const auto picked = rows_.index_select(0, entries.rows.slice(0, begin, end).flatten())
                            .to(at::kDouble)
                            .view({end - begin, most, width});
    const auto values = entries.values.slice(0, begin, end).to(at::kDouble).unsqueeze(1);
    to.product.slice(0, begin, end).add_(at::bmm(values, picked).squeeze(1), shard_.rows.scale());
  }
}

// G^T G in float64, a panel of rows at a time: an entry goes to its place in the panel, all others
// to a place behind it.
void DeviceAlternation::add_gram(const DeviceEntries& entries, Sums& to) const {
  if (entries.rows.size(1) == 0) return;
  const auto panel = std::min(rows_.size(0), columns_a_block(rank_ * 8));
  auto dense = at::empty({rank_, panel + 1}, to.all.options());
  const auto values = entries.values.to(at::kDouble);
  for (std::int64_t first = 0; first < rows_.size(0); first += panel) {
    const auto place = entries.rows - first;
    const auto outside =
        (place < 0).logical_or_(place >= panel).logical_or_(entries.won.logical_not());
    dense.zero_();
    dense.scatter_(1, place.masked_fill(outside, panel), values);
    const auto inside = dense.slice(1, 0, panel);
    to.gram.addmm_(inside, inside.t());
  }
}

// ||A||^2 - 2 <F, A G> + <F^T F, G^T G>, [1].
at::Tensor DeviceAlternation::objective(const Solved& solved, const Sums& sums) const {
  const auto& f = solved.features;
  const auto cross = (f * sums.product).sum();
  const auto model =
      f.size(0) <= f.size(1) ? (solved.gram * sums.gram).sum() : (at::mm(sums.gram, f) * f).sum();
  return (square_norm_ - cross - cross + model).clamp_min(0).view({1});  // rounding
}

// Collective. One iteration, enqueued, and what is to be told of it.
at::Tensor DeviceAlternation::step(const Request& asked, DeviceStopRule& rule) {
  const auto solved = solve(*sums_);
  const auto entries = keep_largest(rows_, solved.vectors, shard_.first, kept_, place_.comm);
  Sums sums(rank_, rows_.size(1), place_.device);
  add_product(entries, sums);
  add_gram(entries, sums);
  sums.flags.slice(0, 0, 1).fill_(asked.stop ? 1 : 0);
  sums.flags.slice(0, 1, 2).fill_(asked.save ? 1 : 0);
  sums.flags.slice(0, 2).copy_(solved.singular);
  sum_over_ranks(sums.all, place_.comm);
  const auto told = at::cat({objective(solved, sums), sums.flags});
  // All ranks shall decide alike, were their devices of different kinds.
  place_.comm.broadcast({told.data_ptr(), told.numel(), cluster::DType::f64}, 0);
  return take(told, rule, solved, entries, sums);
}

// F and G become those of an iteration, unless it is one too many or its systems were singular.
at::Tensor DeviceAlternation::take(const at::Tensor& told, DeviceStopRule& rule,
                                   const Solved& solved, const DeviceEntries& entries,
                                   const Sums& sums) {
  const auto of = [&](std::int64_t place) { return told.slice(0, place, place + 1); };
  const auto singular = (of(report::singular) > 0) & going_;
  const auto taken = going_ & singular.logical_not();
  const auto better = rule.improves(of(report::objective), taken);
  sums_ = Sums(at::where(taken, sums.all, sums_->all), rank_, rows_.size(1));
  entries_ = where(taken, entries, entries_);
  best_features_ = at::where(better, solved.features, best_features_);
  best_entries_ = where(better, entries, best_entries_);
  const auto asked = (of(report::stop) > 0) | (of(report::save) > 0);
  going_ = taken & asked.logical_not() & rule.ended().logical_not();
  return at::cat(
      {told.slice(0, 0, report::singular), singular.to(at::kDouble), taken.to(at::kDouble)});
}

// What a copy to the host costs is shared by so many iterations.
constexpr std::int64_t iterations_a_read = 8;

// Collective. Reports of iterations. Their work is more than a device's queue holds: where a rank
// hangs, the others' hosts wait here already.
std::vector<at::Tensor> DeviceAlternation::enqueue(const StopRule& rule,
                                                   const std::function<Request()>& ask) {
  const cluster::Watchdog::Scope watched(place_.watchdog, "work on a device, of all ranks");
  DeviceStopRule stop(std::span(&rule, 1), place_.device);
  going_ = at::ones({1}, rows_.options().dtype(at::kBool));
  std::vector<at::Tensor> reports;
  auto asked = refused_;
  for (auto left = std::min(iterations_a_read, rule.left()); left > 0; --left) {
    const auto now = ask();
    asked = {asked.stop || now.stop, asked.save || now.save};
    reports.push_back(step(asked, stop));
  }
  return reports;
}

std::vector<double> DeviceAlternation::iterate(const StopRule& rule,
                                               const std::function<Request()>& ask) {
  Laps laps;
  const auto all = at::stack(enqueue(rule, ask));
  if (place_.wait) place_.wait();
  auto objectives = read(all.cpu());
  laps.lap(seconds_.dense);
  return objectives;
}

// The objectives of the iterations that count, which are the first. The one after them does not
// because they end the fit or are to be saved, or it is made again with a larger ridge.
std::vector<double> DeviceAlternation::read(const at::Tensor& reports) {
  const auto numbers = reports.accessor<double, 2>();
  std::vector<double> out;
  stop_ = save_ = false;
  std::int64_t i = 0;
  for (; i < numbers.size(0) && numbers[i][report::taken] > 0; ++i) {
    out.push_back(numbers[i][report::objective]);
    if (!std::isfinite(out.back())) refuse_overflow();
    stop_ = numbers[i][report::stop] > 0;
    save_ = numbers[i][report::save] > 0;
  }
  const auto last = numbers[numbers.size(0) - 1];
  refused_ = {last[report::stop] > 0 && !stop_, last[report::save] > 0 && !stop_ && !save_};
  if (i < numbers.size(0) && numbers[i][report::singular] > 0) ridge_.raise();
  return out;
}

}  // namespace

std::unique_ptr<Alternation> make_device_alternation(const Shard& shard, const Options& options,
                                                     const DevicePlace& place,
                                                     cluster::Communicator& group) {
  return std::make_unique<DeviceAlternation>(shard, options, place, group);
}

}  // namespace quench::dictionary
