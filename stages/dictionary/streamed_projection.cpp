#include <ATen/Parallel.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

#include "cluster/collectives.hpp"
#include "cluster/random.hpp"
#include "stages/dictionary/projection.hpp"
#include "stages/dictionary/search.hpp"
#include "stages/dictionary/threshold.hpp"

namespace quench::dictionary {

namespace {

// A sample over all ranks: large enough for a quantile, small beside the rows.
constexpr std::int64_t fewest_samples = 1024, most_samples = 8192, sample_share = 32;
// Columns that are searched together with a guess that may let all rows pass.
constexpr std::int64_t careful = 16;

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
  std::vector<float> pooled_quantile(const at::Tensor& sizes, std::int64_t place) const;
  std::vector<float> next_guess(const at::Tensor& solver, const SparseColumns& last) const;
  std::vector<std::int64_t> short_columns(const std::vector<std::int64_t>& columns);
  void collect(const at::Tensor& solver, const std::vector<std::int64_t>& columns,
               const std::vector<float>& guess, std::int64_t together);

  const Rows& rows_;
  cluster::KeyedRandom places_{0, "dictionary.sample"};
  std::unique_ptr<Search> search_;
  std::int64_t kept_, total_rows_;
  cluster::Communicator& comm_;
  Candidates candidates_;
  std::vector<float> last_least_;
  double share_ = 0;
};

// Collective. Of each line of the ranks' non-negative numbers, sizes [columns, own sample], the
// largest value that `place` of all ranks' numbers reach, within a few millionths: bisected in the
// bits of floats, which are in their order. A quantile of each rank's own would not do: a rank of
// small rows would lower the guess for all.
std::vector<float> StreamedProjection::pooled_quantile(const at::Tensor& sizes,
                                                       std::int64_t place) const {
  constexpr int rounds = 24;
  const auto columns = sizes.size(0), count = sizes.size(1);
  const float* numbers = sizes.const_data_ptr<float>();
  std::vector<std::uint32_t> low(static_cast<std::size_t>(columns), 0);
  std::vector<std::int64_t> reached(static_cast<std::size_t>(columns));
  std::uint32_t step = std::uint32_t{1} << 30;  // 2 as a float; no size is negative
  for (int round = 0; round <= rounds; ++round, step >>= 1) {
    at::parallel_for(0, columns, 1, [&](std::int64_t begin, std::int64_t end) {
      for (auto i = begin; i < end; ++i) {
        const float least = std::bit_cast<float>(low[i] | step);
        reached[i] = std::count_if(numbers + i * count, numbers + (i + 1) * count,
                                   [least](float x) { return x >= least; });
      }
    });
    cluster::all_reduce_sum(comm_, std::span<std::int64_t>(reached));
    for (std::int64_t i = 0; i < columns; ++i)
      if (reached[i] >= place) low[i] |= step;
  }
  std::vector<float> quantiles;
  for (const auto bits : low) quantiles.push_back(std::bit_cast<float>(bits));
  return quantiles;
}

// Collective. For some columns a quantile of sampled rows of all ranks, one of every so many (not
// every so many-th, which rows in a pattern would fool), lowered by what chance does to it.
void StreamedProjection::sample(const at::Tensor& solver, const std::vector<std::int64_t>& columns,
                                std::vector<float>& guess) const {
  if (columns.empty()) return;
  const auto wanted = std::clamp(total_rows_ / sample_share, fewest_samples, most_samples);
  const auto stride = std::max<std::int64_t>(1, total_rows_ / wanted);
  const auto count = (rows_.count() + stride - 1) / stride;
  const auto chosen = at::empty({count, rows_.width()}, at::kFloat);
  for (std::int64_t i = 0; i < count; ++i) {
    const auto of = std::min(stride, rows_.count() - i * stride);
    const auto row = i * stride + static_cast<std::int64_t>(places_.below(i, of));
    rows_.copy(row, 1, chosen.mutable_data_ptr<float>() + i * rows_.width());
  }
  const auto vectors = solver.index_select(0, at::tensor(at::IntArrayRef(columns), at::kLong));
  const auto sizes = at::mm(vectors, chosen.t()).abs_();
  const auto sampled = cluster::all_reduce_value(comm_, count, cluster::Op::sum);
  const double expected =
      static_cast<double>(kept_) * static_cast<double>(sampled) / static_cast<double>(total_rows_);
  const auto place = std::min(
      sampled, 1 + static_cast<std::int64_t>(std::ceil(expected + 3.5 * std::sqrt(expected))));
  const auto quantiles = pooled_quantile(sizes, place);
  for (std::size_t i = 0; i < columns.size(); ++i) guess[columns[i]] = quantiles[i];
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

// So many columns at a time. Where everything ties, as in a column of zeros, n candidates would
// stay.
void StreamedProjection::collect(const at::Tensor& solver, const std::vector<std::int64_t>& columns,
                                 const std::vector<float>& guess, std::int64_t together) {
  for (std::int64_t i = 0; i < std::ssize(columns); i += together) {
    const auto end = std::min(i + together, std::ssize(columns));
    const std::vector<std::int64_t> part(columns.begin() + i, columns.begin() + end);
    search_->collect(solver, part, guess, candidates_);
    for (const auto k : part)
      if (std::ssize(candidates_.rows[k]) > 8 * kept_) candidates_.keep_most(k, kept_);
  }
}

const Candidates& StreamedProjection::screen(const at::Tensor& solver, const SparseColumns& last) {
  const auto vectors = rows_.scale() == 1 ? solver : solver * rows_.scale();
  auto guess = next_guess(vectors, last);
  last_least_ = last.least_kept;
  std::vector<std::int64_t> columns(candidates_.columns());
  for (std::size_t k = 0; k < columns.size(); ++k) columns[k] = static_cast<std::int64_t>(k);
  share_ = 0;
  for (int round = 0; !columns.empty(); ++round) {
    collect(vectors, columns, guess, round == 0 ? std::ssize(columns) : careful);
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
