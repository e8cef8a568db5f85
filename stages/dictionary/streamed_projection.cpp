#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "cluster/collectives.hpp"
#include "stages/dictionary/projection.hpp"
#include "stages/dictionary/search.hpp"
#include "stages/dictionary/threshold.hpp"

namespace quench::dictionary {

namespace {

constexpr std::int64_t sample_rows = 8192;  // over all ranks, for the first guess

class StreamedProjection final : public Projection {
 public:
  StreamedProjection(const Rows& rows, std::int64_t columns, std::int64_t kept,
                     cluster::Communicator& comm)
      : rows_(rows), search_(make_search(rows)), kept_(kept), comm_(comm), candidates_(columns) {
    total_rows_ = cluster::all_reduce_value(comm, rows.count(), cluster::Op::sum);
  }

  const Candidates& screen(const at::Tensor& solver, const SparseColumns& last) override;
  double share_computed() const override { return share_; }

 private:
  std::vector<float> first_guess(const at::Tensor& solver);
  std::vector<float> next_guess(const SparseColumns& last) const;
  std::vector<std::int64_t> short_columns(const std::vector<std::int64_t>& columns);

  const Rows& rows_;
  std::unique_ptr<Search> search_;
  std::int64_t kept_, total_rows_;
  cluster::Communicator& comm_;
  Candidates candidates_;
  std::vector<float> last_least_;
  double share_ = 0;
};

// A quantile of evenly spaced rows, lowered so that it is seldom too high.
std::vector<float> StreamedProjection::first_guess(const at::Tensor& solver) {
  const auto stride = std::max<std::int64_t>(1, total_rows_ / sample_rows);
  const auto count = (rows_.count() + stride - 1) / stride;
  std::vector<float> guess(candidates_.columns(), std::numeric_limits<float>::infinity());
  if (count > 0) {
    const auto sample = at::empty({count, rows_.width()}, at::kFloat);
    for (std::int64_t i = 0; i < count; ++i)
      rows_.copy(i * stride, 1, sample.mutable_data_ptr<float>() + i * rows_.width());
    const auto sizes = at::mm(solver, sample.t()).abs_();
    const auto place =
        std::min(count, 1 + static_cast<std::int64_t>(std::ceil(1.2 * static_cast<double>(kept_) *
                                                                static_cast<double>(count) /
                                                                static_cast<double>(total_rows_))));
    at::parallel_for(0, candidates_.columns(), 1, [&](std::int64_t begin, std::int64_t end) {
      for (auto k = begin; k < end; ++k) {
        float* line = sizes.mutable_data_ptr<float>() + k * count;
        std::nth_element(line, line + (place - 1), line + count, std::greater<>());
        guess[k] = line[place - 1];
      }
    });
  }
  comm_.all_reduce(cluster::buffer_of(std::span<float>(guess)), cluster::Op::min);
  return guess;
}

std::vector<float> StreamedProjection::next_guess(const SparseColumns& last) const {
  std::vector<float> guess(last.least_kept);
  for (std::size_t k = 0; k < guess.size(); ++k) {
    guess[k] = next_threshold(guess[k], last_least_.empty() ? 0 : last_least_[k]);
  }
  return guess;
}

// Collective.
std::vector<std::int64_t> StreamedProjection::short_columns(
    const std::vector<std::int64_t>& columns) {
  std::vector<std::int64_t> found;
  for (const auto k : columns) found.push_back(std::ssize(candidates_.rows[k]));
  cluster::all_reduce_sum(comm_, std::span<std::int64_t>(found));
  std::vector<std::int64_t> out;
  for (std::size_t i = 0; i < columns.size(); ++i)
    if (found[i] < kept_) out.push_back(columns[i]);
  return out;
}

const Candidates& StreamedProjection::screen(const at::Tensor& solver, const SparseColumns& last) {
  const auto vectors = rows_.scale() == 1 ? solver : solver * rows_.scale();
  auto guess = last.columns() == 0 ? first_guess(vectors) : next_guess(last);
  last_least_ = last.least_kept;
  std::vector<std::int64_t> columns(candidates_.columns());
  for (std::size_t k = 0; k < columns.size(); ++k) columns[k] = static_cast<std::int64_t>(k);
  share_ = 0;
  for (int round = 0; !columns.empty(); ++round) {
    search_->collect(vectors, columns, guess, candidates_);
    share_ += static_cast<double>(columns.size()) / static_cast<double>(candidates_.columns());
    columns = short_columns(columns);
    for (const auto k : columns) guess[k] = round == 0 ? guess[k] * 0.7F : 0;
  }
  return candidates_;
}

}  // namespace

std::unique_ptr<Projection> make_streamed_projection(const Rows& rows, std::int64_t columns,
                                                     std::int64_t kept,
                                                     cluster::Communicator& comm) {
  return std::make_unique<StreamedProjection>(rows, columns, kept, comm);
}

}  // namespace quench::dictionary
