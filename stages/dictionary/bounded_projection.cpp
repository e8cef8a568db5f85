#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <numeric>
#include <optional>
#include <span>

#include "cluster/collectives.hpp"
#include "stages/dictionary/half_product.hpp"
#include "stages/dictionary/panels.hpp"
#include "stages/dictionary/projection.hpp"
#include "stages/dictionary/rounding.hpp"
#include "stages/dictionary/threshold.hpp"

namespace quench::dictionary {

namespace {

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
        values_(at::zeros({columns, rows.count()}, at::kFloat)),
        vectors_(at::zeros({columns, rows.width()}, at::kFloat)),
        all_columns_(columns) {
    std::iota(all_columns_.begin(), all_columns_.end(), 0);
    if (rows.halved() && HalfProduct::available())
      half_product_.emplace(rows.halves(), rows.count(), rows.width());
  }

  const Candidates& screen(const at::Tensor& solver, const SparseColumns& last) override;
  double share_computed() const override {
    return static_cast<double>(computed_) /
           static_cast<double>(std::max<std::int64_t>(1, values_.numel()));
  }

 private:
  struct Bound {
    float factor = 0, slack = 0;  // |value| factor + norm slack
  };

  std::vector<float> first_least(const at::Tensor& vectors);
  Candidates winners_now(const at::Tensor& vectors, const SparseColumns& last) const;
  std::vector<float> least_of(const Candidates& winners);
  Bound bound_of(const float* vector, std::int64_t column) const;
  void find_rows(const at::Tensor& vectors, const std::vector<float>& least,
                 const Candidates& winners, const std::vector<std::int64_t>& columns);
  std::vector<std::int64_t> crowded_columns() const;
  void renew(const at::Tensor& vectors, const std::vector<std::int64_t>& columns);
  at::Tensor multiply(at::Tensor& vectors) const;
  void compute_found(const at::Tensor& vectors, const Candidates& winners);

  const Rows& rows_;
  std::int64_t kept_;
  cluster::Communicator& comm_;
  Candidates candidates_;
  at::Tensor values_;   // [K, n]: A^T of vectors_
  at::Tensor vectors_;  // [K, d]: what each column of values_ was made from; at first both are zero
  std::optional<HalfProduct> half_product_;
  std::vector<std::int64_t> all_columns_;
  std::int64_t computed_ = 0;  // entries, by the last screen
};

// Collective. Lower bounds of the thresholds when nothing is known yet: what `kept` rows of one
// rank reach. values_ must be of `vectors`.
std::vector<float> BoundedProjection::first_least(const at::Tensor& vectors) {
  std::vector<float> out(candidates_.columns(), 0);
  const auto count = rows_.count();
  if (count >= kept_) {
    const float longest = *std::ranges::max_element(rows_.norms());
    const float* numbers = values_.const_data_ptr<float>();
    const float* solver = vectors.const_data_ptr<float>();
    at::parallel_for(0, candidates_.columns(), 1, [&](std::int64_t begin, std::int64_t end) {
      for (auto k = begin; k < end; ++k) {
        const auto bound = bound_of(solver + k * rows_.width(), k);
        out[k] = std::max(0.0F, threshold_of(numbers + k * count, count, kept_) * bound.factor -
                                    longest * bound.slack);
      }
    });
  }
  if (comm_.size() > 1)
    comm_.all_reduce(cluster::buffer_of(std::span<float>(out)), cluster::Op::max);
  return out;
}

// What the last winners are worth under the new vectors.
Candidates BoundedProjection::winners_now(const at::Tensor& vectors,
                                          const SparseColumns& last) const {
  Candidates out(last.columns());
  for (std::int64_t k = 0; k < last.columns(); ++k) {
    const auto rows = last.rows_of(k);
    out.rows[k].assign(rows.begin(), rows.end());
  }
  compute_values(rows_, vectors, all_columns_, out);
  return out;
}

// Collective. Since `kept` entries reach it, no column's threshold is below.
std::vector<float> BoundedProjection::least_of(const Candidates& winners) {
  std::vector<float> out(winners.columns(), std::numeric_limits<float>::infinity());
  for (std::int64_t k = 0; k < winners.columns(); ++k)
    for (const float value : winners.values[k]) out[k] = std::min(out[k], std::abs(value));
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
void add_winners(const std::vector<std::int32_t>& winners, std::vector<std::int32_t>& rows) {
  if (std::ranges::includes(rows, winners)) return;
  std::vector<std::int32_t> all;
  std::ranges::set_union(rows, winners, std::back_inserter(all));
  rows = std::move(all);
}

// Rows of some columns whose bound reaches `least`, into candidates_.
void BoundedProjection::find_rows(const at::Tensor& vectors, const std::vector<float>& least,
                                  const Candidates& winners,
                                  const std::vector<std::int64_t>& columns) {
  const auto count = rows_.count();
  const float* numbers = values_.const_data_ptr<float>();
  const float* solver = vectors.const_data_ptr<float>();
  at::parallel_for(0, std::ssize(columns), 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = begin; i < end; ++i) {
      const auto k = columns[i];
      const auto bound = bound_of(solver + k * rows_.width(), k);
      candidates_.rows[k].clear();
      kernels::collect_bounded(numbers + k * count, rows_.norms().data(), count, bound.factor,
                               bound.slack, least[k], candidates_.rows[k]);
      add_winners(winners.rows[k], candidates_.rows[k]);
    }
  });
}

// Those with more candidates than it pays to compute one by one.
std::vector<std::int64_t> BoundedProjection::crowded_columns() const {
  std::vector<std::int64_t> out;
  for (std::int64_t k = 0; k < candidates_.columns(); ++k)
    if (price_of_one * (std::ssize(candidates_.rows[k]) - kept_) > rows_.count()) out.push_back(k);
  return out;
}

// A^T of the vectors, [count, n]; first rounds them where the product is one of bfloat16.
at::Tensor BoundedProjection::multiply(at::Tensor& vectors) const {
  auto values = at::empty({vectors.size(0), rows_.count()}, at::kFloat);
  if (half_product_) {
    std::vector<kernels::Half> halves(vectors.numel());
    auto* numbers = vectors.mutable_data_ptr<float>();
    std::transform(numbers, numbers + vectors.numel(), halves.begin(), to_half);
    kernels::widen(halves.data(), vectors.numel(), numbers);
    half_product_->multiply(halves, values.mutable_data_ptr<float>(), rows_.count());
    return values;
  }
  for_each_panel(rows_, panel_numbers / rows_.width(),
                 [&](const at::Tensor& part, std::int64_t first) {
                   auto block = values.slice(1, first, first + part.size(0));
                   at::mm_out(block, vectors, part.t());
                 });
  return values;
}

// Makes columns of values_ anew.
void BoundedProjection::renew(const at::Tensor& vectors, const std::vector<std::int64_t>& columns) {
  if (columns.empty()) return;
  const auto index = at::tensor(at::IntArrayRef(columns), at::kLong);
  auto chosen = vectors.index_select(0, index);
  const auto values = multiply(chosen);
  if (std::ssize(columns) == candidates_.columns())
    values_ = values;
  else
    values_.index_copy_(0, index, values);
  vectors_.index_copy_(0, index, chosen);
}

// Values of the rows in candidates_: those of the last winners, which are among them, are known;
// the others are computed.
void BoundedProjection::compute_found(const at::Tensor& vectors, const Candidates& winners) {
  Candidates open(candidates_.columns());
  for (const auto k : all_columns_)
    std::ranges::set_difference(candidates_.rows[k], winners.rows[k],
                                std::back_inserter(open.rows[k]));
  compute_values(rows_, vectors, all_columns_, open);
  for (const auto k : all_columns_) {
    auto& values = candidates_.values[k];
    values.clear();
    auto known = winners.values[k].begin();
    auto made = open.values[k].begin();
    auto winner = winners.rows[k].begin();
    for (const auto row : candidates_.rows[k]) {
      const bool won = winner != winners.rows[k].end() && *winner == row;
      values.push_back(won ? *known++ : *made++);
      if (won) ++winner;
    }
    computed_ += std::ssize(values);
  }
}

const Candidates& BoundedProjection::screen(const at::Tensor& solver, const SparseColumns& last) {
  const auto vectors = (rows_.scale() == 1 ? solver : solver * rows_.scale()).contiguous();
  computed_ = 0;
  if (last.columns() == 0) {
    const Candidates none(candidates_.columns());
    renew(vectors, all_columns_);
    find_rows(vectors, first_least(vectors), none, all_columns_);
    compute_found(vectors, none);
    computed_ = values_.numel();
    return candidates_;
  }
  const auto winners = winners_now(vectors, last);
  const auto least = least_of(winners);
  find_rows(vectors, least, winners, all_columns_);
  const auto crowded = crowded_columns();
  renew(vectors, crowded);
  find_rows(vectors, least, winners, crowded);
  compute_found(vectors, winners);
  computed_ += std::ssize(crowded) * rows_.count();
  return candidates_;
}

}  // namespace

std::unique_ptr<Projection> make_bounded_projection(const Rows& rows, std::int64_t columns,
                                                    std::int64_t kept,
                                                    cluster::Communicator& comm) {
  return std::make_unique<BoundedProjection>(rows, columns, kept, comm);
}

}  // namespace quench::dictionary
