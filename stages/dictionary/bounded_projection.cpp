#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <span>

#include "cluster/collectives.hpp"
#include "stages/dictionary/panels.hpp"
#include "stages/dictionary/projection.hpp"

namespace quench::dictionary {

namespace {

// Rounding of a dot product, relative to the lengths of its vectors; far below what it bounds.
constexpr double rounding = 1e-5;
// One number costs this many times more alone than in a product of all of them.
constexpr std::int64_t price_of_one = 24;
constexpr std::int64_t panel_numbers = std::int64_t{1} << 20;

class BoundedProjection final : public Projection {
 public:
  BoundedProjection(const Rows& rows, std::int64_t columns, std::int64_t kept,
                    cluster::Communicator& comm)
      : rows_(rows),
        kept_(kept),
        comm_(comm),
        candidates_(columns),
        values_(at::empty({columns, rows.count()}, at::kFloat)),
        vectors_(at::zeros({columns, rows.width()}, at::kFloat)) {}

  const Candidates& screen(const at::Tensor& solver, const SparseColumns& last,
                           const SparseRows& last_by_row) override;
  const char* name() const override { return "bounded"; }
  double share_computed() const override { return share_; }

 private:
  struct Bound {
    float factor = 0, slack = 0;  // |value| factor + norm slack
  };

  void take_all(const at::Tensor& vectors);
  std::vector<float> winners_now(const at::Tensor& vectors, const SparseColumns& last,
                                 const SparseRows& by_row) const;
  std::vector<float> least_of(const std::vector<float>& winners, const SparseColumns& last);
  Bound bound_of(const float* vector, std::int64_t column) const;
  std::vector<std::int64_t> find_rows(const at::Tensor& vectors, const std::vector<float>& least,
                                      const SparseColumns& last);
  void renew(const at::Tensor& vectors, const std::vector<std::int64_t>& columns);
  void compute_found(const at::Tensor& vectors, const SparseColumns& last,
                     const std::vector<float>& winners, const std::vector<bool>& renewed);

  const Rows& rows_;
  std::int64_t kept_;
  cluster::Communicator& comm_;
  Candidates candidates_;
  at::Tensor values_;   // [K, n]: A^T of vectors_
  at::Tensor vectors_;  // [K, d]: what each column of values_ was made from
  double share_ = 0;
};

// Everything, and all of it a candidate: there is nothing to compare with yet.
void BoundedProjection::take_all(const at::Tensor& vectors) {
  std::vector<std::int64_t> columns(candidates_.columns());
  for (std::size_t k = 0; k < columns.size(); ++k) columns[k] = static_cast<std::int64_t>(k);
  renew(vectors, columns);
  const auto count = rows_.count();
  const float* numbers = values_.const_data_ptr<float>();
  at::parallel_for(0, candidates_.columns(), 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto k = begin; k < end; ++k) {
      candidates_.rows[k].resize(count);
      for (std::int64_t r = 0; r < count; ++r)
        candidates_.rows[k][r] = static_cast<std::int32_t>(r);
      candidates_.values[k].assign(numbers + k * count, numbers + (k + 1) * count);
    }
  });
}

// What the last winners are worth under the new vectors, in their order.
std::vector<float> BoundedProjection::winners_now(const at::Tensor& vectors,
                                                  const SparseColumns& last,
                                                  const SparseRows& by_row) const {
  std::vector<float> out(last.rows.size());
  const float* solver = vectors.const_data_ptr<float>();
  at::parallel_for(0, rows_.count(), 64, [&](std::int64_t begin, std::int64_t end) {
    for (auto r = begin; r < end; ++r)
      for (auto i = by_row.offsets[r]; i < by_row.offsets[r + 1]; ++i)
        out[by_row.places[i]] = rows_.dot(r, solver + by_row.columns[i] * rows_.width());
  });
  return out;
}

// Collective. Since `kept` entries reach it, no column's threshold is below.
std::vector<float> BoundedProjection::least_of(const std::vector<float>& winners,
                                               const SparseColumns& last) {
  std::vector<float> out(last.columns(), std::numeric_limits<float>::infinity());
  for (std::int64_t k = 0; k < last.columns(); ++k)
    for (auto i = last.offsets[k]; i < last.offsets[k + 1]; ++i)
      out[k] = std::min(out[k], std::abs(winners[i]));
  if (comm_.size() > 1)
    comm_.all_reduce(cluster::buffer_of(std::span<float>(out)), cluster::Op::min);
  return out;
}

BoundedProjection::Bound BoundedProjection::bound_of(const float* vector,
                                                     std::int64_t column) const {
  const float* old = vectors_.const_data_ptr<float>() + column * rows_.width();
  double cross = 0, square = 0, length = 0;
  for (std::int64_t j = 0; j < rows_.width(); ++j) {
    cross += static_cast<double>(vector[j]) * old[j];
    square += static_cast<double>(old[j]) * old[j];
    length += static_cast<double>(vector[j]) * vector[j];
  }
  const double factor = square > 0 ? cross / square : 0;
  double difference = 0;
  for (std::int64_t j = 0; j < rows_.width(); ++j) {
    const double gap = vector[j] - factor * old[j];
    difference += gap * gap;
  }
  return {static_cast<float>(std::abs(factor)),
          static_cast<float>(std::sqrt(difference) + rounding * std::sqrt(length))};
}

// Adds the winners of the last iteration, which rounding may have left out.
void add_winners(const SparseColumns& last, std::int64_t column, std::vector<std::int32_t>& rows) {
  const std::span winners(last.rows.data() + last.offsets[column],
                          last.offsets[column + 1] - last.offsets[column]);
  if (std::ranges::includes(rows, winners)) return;
  std::vector<std::int32_t> all;
  std::ranges::set_union(rows, winners, std::back_inserter(all));
  rows = std::move(all);
}

// Rows whose bound reaches `least`, into candidates_; returns the columns that have too many.
std::vector<std::int64_t> BoundedProjection::find_rows(const at::Tensor& vectors,
                                                       const std::vector<float>& least,
                                                       const SparseColumns& last) {
  const auto count = rows_.count();
  const float* numbers = values_.const_data_ptr<float>();
  const float* solver = vectors.const_data_ptr<float>();
  std::vector<std::uint8_t> many(candidates_.columns());
  at::parallel_for(0, candidates_.columns(), 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto k = begin; k < end; ++k) {
      const auto bound = bound_of(solver + k * rows_.width(), k);
      candidates_.rows[k].clear();
      kernels::collect_bounded(numbers + k * count, rows_.norms().data(), count, bound.factor,
                               bound.slack, least[k], candidates_.rows[k]);
      add_winners(last, k, candidates_.rows[k]);
      many[k] = price_of_one * (std::ssize(candidates_.rows[k]) - kept_) > count ? 1 : 0;
    }
  });
  std::vector<std::int64_t> out;
  for (std::size_t k = 0; k < many.size(); ++k)
    if (many[k] != 0) out.push_back(static_cast<std::int64_t>(k));
  return out;
}

// Makes columns of values_ anew.
void BoundedProjection::renew(const at::Tensor& vectors, const std::vector<std::int64_t>& columns) {
  if (columns.empty()) return;
  const auto count = static_cast<std::int64_t>(columns.size());
  const auto index = at::tensor(at::IntArrayRef(columns), at::kLong);
  const bool all = count == candidates_.columns();
  const auto chosen = all ? vectors : vectors.index_select(0, index);
  auto values = all ? values_ : at::empty({count, rows_.count()}, at::kFloat);
  for_each_panel(rows_, panel_numbers / rows_.width(),
                 [&](const at::Tensor& part, std::int64_t first) {
                   auto block = values.slice(1, first, first + part.size(0));
                   at::mm_out(block, chosen, part.t());
                 });
  if (!all) values_.index_copy_(0, index, values);
  vectors_.index_copy_(0, index, chosen);
}

// Values of the rows in candidates_: winners of the last iteration are known, columns just renewed
// are at hand, the others are computed, a row at a time.
void BoundedProjection::compute_found(const at::Tensor& vectors, const SparseColumns& last,
                                      const std::vector<float>& winners,
                                      const std::vector<bool>& renewed) {
  SparseColumns open;
  std::vector<std::size_t> slots;  // of each open entry, among its column's candidates
  for (std::int64_t k = 0; k < candidates_.columns(); ++k) {
    const auto& rows = candidates_.rows[k];
    auto& values = candidates_.values[k];
    values.resize(rows.size());
    auto known = last.offsets[k];
    const float* numbers = values_.const_data_ptr<float>() + k * rows_.count();
    for (std::size_t i = 0; i < rows.size(); ++i) {
      while (known < last.offsets[k + 1] && last.rows[known] < rows[i]) ++known;
      if (known < last.offsets[k + 1] && last.rows[known] == rows[i]) {
        values[i] = winners[known];
      } else if (renewed[k]) {
        values[i] = numbers[rows[i]];
      } else {
        open.rows.push_back(rows[i]);
        slots.push_back(i);
      }
    }
    open.offsets.push_back(std::ssize(open.rows));
  }
  open.values.resize(open.rows.size());
  const auto by_row = dictionary::by_row(open, rows_.count());
  const float* solver = vectors.const_data_ptr<float>();
  at::parallel_for(0, rows_.count(), 64, [&](std::int64_t begin, std::int64_t end) {
    for (auto r = begin; r < end; ++r)
      for (auto i = by_row.offsets[r]; i < by_row.offsets[r + 1]; ++i) {
        const auto k = by_row.columns[i];
        candidates_.values[k][slots[by_row.places[i]]] = rows_.dot(r, solver + k * rows_.width());
      }
  });
  share_ += static_cast<double>(std::ssize(open.rows) + std::ssize(last.rows));
}

const Candidates& BoundedProjection::screen(const at::Tensor& solver, const SparseColumns& last,
                                            const SparseRows& last_by_row) {
  const auto vectors = (rows_.scale() == 1 ? solver : solver * rows_.scale()).contiguous();
  const auto columns = candidates_.columns();
  share_ = 0;
  if (last.columns() == 0) {
    take_all(vectors);
    share_ = 1;
    return candidates_;
  }
  const auto winners = winners_now(vectors, last, last_by_row);
  const auto least = least_of(winners, last);
  const auto many = find_rows(vectors, least, last);
  renew(vectors, many);
  std::vector<bool> renewed(columns, false);
  for (const auto k : many) {
    renewed[k] = true;
    candidates_.rows[k].clear();
    candidates_.values[k].clear();
    kernels::collect_bounded(values_.const_data_ptr<float>() + k * rows_.count(),
                             rows_.norms().data(), rows_.count(), 1,
                             static_cast<float>(rounding) * vectors[k].norm().item<float>(),
                             least[k], candidates_.rows[k]);
    add_winners(last, k, candidates_.rows[k]);
  }
  compute_found(vectors, last, winners, renewed);
  const auto whole = static_cast<double>(columns * std::max<std::int64_t>(1, rows_.count()));
  share_ = share_ / whole + static_cast<double>(many.size()) / static_cast<double>(columns);
  return candidates_;
}

}  // namespace

std::unique_ptr<Projection> make_bounded_projection(const Rows& rows, std::int64_t columns,
                                                    std::int64_t kept,
                                                    cluster::Communicator& comm) {
  return std::make_unique<BoundedProjection>(rows, columns, kept, comm);
}

}  // namespace quench::dictionary
