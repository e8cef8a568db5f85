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

// A sample over all ranks: large enough for a quantile, small beside the rows.
constexpr std::int64_t fewest_samples = 1024, most_samples = 8192, sample_share = 32;

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
  void sample(const at::Tensor& solver, const std::vector<std::int64_t>& columns,
              std::vector<float>& guess) const;
  std::vector<float> next_guess(const at::Tensor& solver, const SparseColumns& last) const;
  std::vector<std::int64_t> short_columns(const std::vector<std::int64_t>& columns);

  const Rows& rows_;
  std::unique_ptr<Search> search_;
  std::int64_t kept_, total_rows_;
  cluster::Communicator& comm_;
  Candidates candidates_;
  std::vector<float> last_least_;
  double share_ = 0;
};

// For some columns a quantile of evenly spaced rows, lowered by what chance does to it.
void StreamedProjection::sample(const at::Tensor& solver, const std::vector<std::int64_t>& columns,
                                std::vector<float>& guess) const {
  if (columns.empty()) return;
  const auto wanted = std::clamp(total_rows_ / sample_share, fewest_samples, most_samples);
  const auto stride = std::max<std::int64_t>(1, total_rows_ / wanted);
  const auto count = (rows_.count() + stride - 1) / stride;
  for (const auto k : columns) guess[k] = std::numeric_limits<float>::infinity();
  if (count > 0) {
    const auto chosen = at::empty({count, rows_.width()}, at::kFloat);
    for (std::int64_t i = 0; i < count; ++i)
      rows_.copy(i * stride, 1, chosen.mutable_data_ptr<float>() + i * rows_.width());
    const auto vectors = solver.index_select(0, at::tensor(at::IntArrayRef(columns), at::kLong));
    const auto sizes = at::mm(vectors, chosen.t()).abs_();
    const double expected =
        static_cast<double>(kept_) * static_cast<double>(count) / static_cast<double>(total_rows_);
    const auto place = std::min(
        count, 1 + static_cast<std::int64_t>(std::ceil(expected + 3.5 * std::sqrt(expected))));
    at::parallel_for(0, std::ssize(columns), 1, [&](std::int64_t begin, std::int64_t end) {
      for (auto i = begin; i < end; ++i) {
        float* line = sizes.mutable_data_ptr<float>() + i * count;
        std::nth_element(line, line + (place - 1), line + count, std::greater<>());
        guess[columns[i]] = line[place - 1];
      }
    });
  }
}

// Collective. Guesses from the last two thresholds, or from a sample where they moved much, or
// where there are none.
std::vector<float> StreamedProjection::next_guess(const at::Tensor& solver,
                                                  const SparseColumns& last) const {
  constexpr float much = 0.97F;
  std::vector<float> guess(candidates_.columns());
  std::vector<std::int64_t> open;
  for (std::int64_t k = 0; k < std::ssize(guess); ++k) {
    if (!last_least_.empty()) guess[k] = next_threshold(last.least_kept[k], last_least_[k]);
    if (last_least_.empty() || guess[k] < much * last.least_kept[k]) open.push_back(k);
  }
  sample(solver, open, guess);
  comm_.all_reduce(cluster::buffer_of(std::span<float>(guess)), cluster::Op::min);
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
  auto guess = next_guess(vectors, last);
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
