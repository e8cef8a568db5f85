#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "cluster/collectives.hpp"
#include "cluster/error.hpp"
#include "stages/dictionary/alternation.hpp"
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

// The other way.
DeviceEntries on_device(const SparseColumns& sparse, std::int64_t most, at::Device device) {
  const auto columns = sparse.columns();
  const auto rows = at::zeros({columns, most}, at::kLong);
  const auto values = at::zeros({columns, most}, at::kFloat);
  const auto won = at::zeros({columns, most}, at::kBool);
  for (std::int64_t k = 0; k < columns; ++k) {
    const auto first = sparse.offsets[k], count = sparse.offsets[k + 1] - first;
    std::copy_n(sparse.rows.begin() + first, count,
                rows.mutable_data_ptr<std::int64_t>() + k * most);
    std::copy_n(sparse.values.begin() + first, count, values.mutable_data_ptr<float>() + k * most);
    std::fill_n(won.mutable_data_ptr<bool>() + k * most, count, true);
  }
  const auto least = at::tensor(at::ArrayRef<float>(sparse.least_kept), at::kFloat);
  return {rows.to(device), values.to(device), won.to(device), least.to(device)};
}

// What ranks add up in an iteration, in one piece of memory.
struct Sums {
  at::Tensor all;      // [K d + K^2 + 3] float64
  at::Tensor product;  // (A G)^T, [K, d], a view
  at::Tensor gram;     // G^T G, [K, K], a view
  at::Tensor flags;    // stop, save, singular: of how many ranks, a view

  Sums(std::int64_t rank, std::int64_t width, at::Device device)
      : all(at::zeros({rank * (width + rank) + 3}, at::TensorOptions(device).dtype(at::kDouble))),
        product(all.slice(0, 0, rank * width).view({rank, width})),
        gram(all.slice(0, rank * width, rank * (width + rank)).view({rank, rank})),
        flags(all.slice(0, rank * (width + rank))) {}
};

// The rows, F, A G and G stay on the device; the host reads four numbers an iteration.
class DeviceAlternation final : public Alternation {
 public:
  DeviceAlternation(const Shard& shard, const Options& options, const DevicePlace& place,
                    cluster::Communicator& group);

  void start(const InitialRows& initial) override;
  void resume(const FitState& state, SparseColumns coefficients) override;
  double iterate(bool stop, bool save) override;
  Solution solution() const override {
    return {[features = features_] { return features.cpu(); },
            [entries = entries_] { return on_host(entries); }};
  }
  double share_computed() const override { return 1; }

 private:
  struct Solved;
  Solved solve(const Sums& sums) const;
  at::Tensor inverse(const at::Tensor& matrix, at::Tensor& singular) const;
  void add_product(const DeviceEntries& entries, Sums& to) const;
  void add_gram(const DeviceEntries& entries, Sums& to) const;
  at::Tensor objective(const Solved& solved, const Sums& sums) const;

  const Shard& shard_;
  const DevicePlace& place_;
  cluster::Communicator& group_;  // of hosts
  std::int64_t rank_;
  double square_norm_ = 0;  // of all ranks
  at::Tensor rows_;         // A^T, stored units, [count, d] float32
  at::Tensor features_;     // F^T, [K, d] float64
  DeviceEntries entries_;   // G
  std::optional<Sums> sums_;
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
      rank_(options.rank) {
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
  sums_ = std::move(sums);
  laps.lap(seconds_.start);
}

void DeviceAlternation::resume(const FitState& state, SparseColumns coefficients) {
  ridge_ = RidgeSystem(state.ridge, state.ridge_raises);
  entries_ = on_device(coefficients, std::min(kept_, shard_.rows.count()), place_.device);
  Sums sums(rank_, rows_.size(1), place_.device);
  add_product(entries_, sums);
  add_gram(entries_, sums);
  sum_over_ranks(sums.all, place_.comm);
  sums_ = std::move(sums);
}

// (M + lambda I)^-1.
at::Tensor DeviceAlternation::inverse(const at::Tensor& matrix, at::Tensor& singular) const {
  auto system = matrix.clone();
  system.diagonal().add_(ridge_.lambda());
  const auto [factor, info] = at::linalg_cholesky_ex(system);
  singular = singular + (info != 0).to(at::kDouble);
  return at::cholesky_inverse(factor);
}

// As the host does (direct_alternation.cpp), but that a singular system is only told.
DeviceAlternation::Solved DeviceAlternation::solve(const Sums& sums) const {
  Solved out;
  out.singular = at::zeros({1}, sums.all.options());
  out.features = at::mm(inverse(sums.gram, out.singular), sums.product);
  out.features.mul_(sums.gram.diagonal().sqrt().clamp_min(1e-8).unsqueeze(1));
  const auto& f = out.features;
  at::Tensor exact;
  if (f.size(0) <= f.size(1)) {
    out.gram = at::mm(f, f.t());
    exact = at::mm(inverse(out.gram, out.singular), f);
  } else {
    out.gram = at::mm(f.t(), f);
    exact = at::mm(f, inverse(out.gram, out.singular));
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

// A step whose systems were singular is made again from the same G, with a larger ridge.
double DeviceAlternation::iterate(bool stop, bool save) {
  Laps laps;
  for (;;) {
    const auto solved = solve(*sums_);
    auto entries = keep_largest(rows_, solved.vectors, shard_.first, kept_, place_.comm);
    Sums sums(rank_, rows_.size(1), place_.device);
    add_product(entries, sums);
    add_gram(entries, sums);
    sums.flags.slice(0, 0, 2).copy_(at::tensor({stop ? 1.0 : 0.0, save ? 1.0 : 0.0}));
    sums.flags.slice(0, 2).copy_(solved.singular);
    sum_over_ranks(sums.all, place_.comm);
    auto report = at::cat({objective(solved, sums), sums.flags});
    // All ranks shall decide alike, were their devices of different kinds.
    place_.comm.broadcast({report.data_ptr(), report.numel(), cluster::DType::f64}, 0);
    if (place_.wait) place_.wait();
    report = report.cpu();
    const auto* numbers = report.const_data_ptr<double>();
    laps.lap(seconds_.dense);
    stop_ = numbers[1] > 0;
    save_ = numbers[2] > 0;
    if (numbers[3] > 0) {
      ridge_.raise();
      continue;
    }
    if (!std::isfinite(numbers[0]))
      throw DataError("the factorisation overflows: the embedding rows are too large");
    features_ = solved.features;
    entries_ = std::move(entries);
    sums_ = std::move(sums);
    return numbers[0];
  }
}

}  // namespace

double device_alternation_bytes(std::int64_t rows, std::int64_t width, std::int64_t rank,
                                std::int64_t kept) {
  const auto sums = static_cast<double>(rank * (width + rank));
  const auto systems =
      static_cast<double>(std::min(rank, width) * std::min(rank, width) + rank * rank);
  const auto entries = static_cast<double>(rank * std::min(kept, rows));
  // The rows; four Gs, one of them with its keys; blocks of columns and of rows.
  return 4.0 * static_cast<double>(rows * width) + 80 * entries + 8 * (6 * sums + 6 * systems) +
         4 * working_bytes;
}

std::unique_ptr<Alternation> make_device_alternation(const Shard& shard, const Options& options,
                                                     const DevicePlace& place,
                                                     cluster::Communicator& group) {
  return std::make_unique<DeviceAlternation>(shard, options, place, group);
}

}  // namespace quench::dictionary
