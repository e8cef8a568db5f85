#include "stages/dictionary/winners.hpp"

#include <ATen/Parallel.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>

#include "cluster/collectives.hpp"
#include "cluster/error.hpp"
#include "stages/dictionary/runs.hpp"
#include "stages/dictionary/threshold.hpp"

namespace quench::dictionary {

namespace {

// Orders as |value| does.
std::uint32_t magnitude(float value) { return std::bit_cast<std::uint32_t>(value) & 0x7fffffffU; }

struct Threshold {
  std::uint32_t bits = 0;  // magnitude of the last winner
  std::int64_t ties = 0;   // how many entries of just this magnitude win
};

Threshold local_threshold(const std::vector<float>& values, std::int64_t kept) {
  std::vector<std::uint32_t> bits(values.size());
  std::transform(values.begin(), values.end(), bits.begin(), magnitude);
  std::nth_element(bits.begin(), bits.begin() + (kept - 1), bits.end(), std::greater<>());
  const auto last = bits[kept - 1];
  const auto above = std::count_if(bits.begin(), bits.begin() + kept,
                                   [&](std::uint32_t other) { return other > last; });
  return {last, kept - above};
}

// Collective. Radix selection: the threshold's bits, eight at a time from the top, by histograms
// summed over ranks.
std::vector<Threshold> global_thresholds(const Candidates& candidates, std::int64_t kept,
                                         cluster::Communicator& comm) {
  constexpr std::int64_t bins = 256;
  const auto columns = candidates.columns();
  std::vector<Threshold> out(columns, Threshold{0, kept});
  std::vector<std::int32_t> histograms(columns * bins);
  for (int shift = 24; shift >= 0; shift -= 8) {
    std::fill(histograms.begin(), histograms.end(), 0);
    const std::uint64_t settled = ~std::uint64_t{0} << static_cast<unsigned>(shift + 8);
    at::parallel_for(0, columns, 1, [&](std::int64_t begin, std::int64_t end) {
      for (auto k = begin; k < end; ++k)
        for (const float value : candidates.values[k])
          if (const auto bits = magnitude(value); (bits & settled) == out[k].bits)
            ++histograms[k * bins + ((bits >> static_cast<unsigned>(shift)) & 0xffU)];
    });
    cluster::all_reduce_sum(comm, std::span<std::int32_t>(histograms));
    for (std::int64_t k = 0; k < columns; ++k) {
      std::int64_t bin = bins - 1;
      for (; bin > 0 && out[k].ties > histograms[k * bins + bin]; --bin)
        out[k].ties -= histograms[k * bins + bin];
      out[k].bits |= static_cast<std::uint32_t>(bin) << static_cast<unsigned>(shift);
    }
  }
  return out;
}

// Collective. Of the ties each column may keep over all ranks, those that this rank may: lower
// ranks hold lower rows.
void share_ties(const Candidates& candidates, std::vector<Threshold>& thresholds,
                cluster::Communicator& comm) {
  std::vector<std::int64_t> here(thresholds.size());
  for (std::size_t k = 0; k < thresholds.size(); ++k)
    here[k] = std::count_if(candidates.values[k].begin(), candidates.values[k].end(),
                            [&](float value) { return magnitude(value) == thresholds[k].bits; });
  auto total = here;
  cluster::all_reduce_sum(comm, std::span<std::int64_t>(total));
  std::vector<std::int64_t> contested;  // counts here of the columns with more ties than places
  for (std::size_t k = 0; k < thresholds.size(); ++k)
    if (total[k] > thresholds[k].ties) contested.push_back(here[k]);
  if (contested.empty()) return;
  const auto all = cluster::all_gather(comm, std::span<const std::int64_t>(contested));
  std::size_t i = 0;
  for (std::size_t k = 0; k < thresholds.size(); ++k) {
    if (total[k] <= thresholds[k].ties) continue;
    for (int rank = 0; rank < comm.rank(); ++rank) thresholds[k].ties -= all.of(rank)[i];
    ++i;
  }
}

std::vector<Threshold> thresholds_of(const Candidates& candidates, std::int64_t kept,
                                     cluster::Communicator& comm) {
  const auto columns = candidates.columns();
  if (comm.size() > 1) {
    auto out = global_thresholds(candidates, kept, comm);
    share_ties(candidates, out, comm);
    return out;
  }
  std::vector<Threshold> out(columns);
  at::parallel_for(0, columns, 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto k = begin; k < end; ++k) out[k] = local_threshold(candidates.values[k], kept);
  });
  return out;
}

void append_winners(const Candidates& candidates, std::int64_t column, Threshold threshold,
                    SparseColumns& out) {
  const auto& values = candidates.values[column];
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto bits = magnitude(values[i]);
    if (bits < threshold.bits || (bits == threshold.bits && threshold.ties-- <= 0)) continue;
    out.rows.push_back(candidates.rows[column][i]);
    out.values.push_back(values[i]);
  }
  out.offsets.push_back(static_cast<std::int64_t>(out.rows.size()));
}

}  // namespace

void Candidates::clear(std::int64_t column) {
  rows[column].clear();
  values[column].clear();
}

void Candidates::drop_below(std::int64_t column, float least) {
  std::size_t left = 0;
  for (std::size_t i = 0; i < rows[column].size(); ++i) {
    if (!(std::abs(values[column][i]) >= least)) continue;
    rows[column][left] = rows[column][i];
    values[column][left++] = values[column][i];
  }
  rows[column].resize(left);
  values[column].resize(left);
}

void Candidates::keep_most(std::int64_t column, std::int64_t most) {
  auto& sizes = values[column];
  if (std::ssize(sizes) <= most) return;
  const float least = threshold_of(sizes.data(), std::ssize(sizes), most);
  auto ties = most - std::ranges::count_if(sizes, [&](float x) { return std::abs(x) > least; });
  std::size_t left = 0;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const float size = std::abs(sizes[i]);
    if (!(size > least) && (size < least || ties-- <= 0)) continue;
    rows[column][left] = rows[column][i];
    sizes[left++] = sizes[i];
  }
  rows[column].resize(left);
  sizes.resize(left);
  rows[column].shrink_to_fit();
  sizes.shrink_to_fit();
}

void compute_values(const Rows& rows, const at::Tensor& vectors,
                    const std::vector<std::int64_t>& columns, Candidates& candidates) {
  const float* numbers = vectors.const_data_ptr<float>();
  for (const auto k : columns) candidates.values[k].resize(candidates.rows[k].size());
  for_each_run(
      std::ssize(columns), rows.count(), rows.row_bytes(), rows.width() * 4,
      [&](std::int64_t i) { return std::span<const std::int32_t>(candidates.rows[columns[i]]); },
      [&](std::int64_t i, std::size_t begin, std::size_t end) {
        const auto k = columns[i];
        for (auto j = begin; j < end; ++j)
          candidates.values[k][j] = rows.dot(candidates.rows[k][j], numbers + k * rows.width());
      });
}

SparseColumns keep_largest(const Candidates& candidates, std::int64_t kept,
                           cluster::Communicator& comm) {
  if (comm.size() == 1)
    for (const auto& values : candidates.values)
      if (static_cast<std::int64_t>(values.size()) < kept)
        throw InternalError("keep_largest: fewer candidates than winners");
  const auto thresholds = thresholds_of(candidates, kept, comm);
  SparseColumns out;
  for (std::int64_t k = 0; k < candidates.columns(); ++k) {
    append_winners(candidates, k, thresholds[k], out);
    out.least_kept.push_back(std::bit_cast<float>(thresholds[k].bits));
  }
  return out;
}

}  // namespace quench::dictionary
