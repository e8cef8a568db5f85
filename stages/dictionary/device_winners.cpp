#include "stages/dictionary/device_winners.hpp"

#include <algorithm>
#include <vector>

#include "stages/dictionary/device_sums.hpp"

namespace quench::dictionary {

namespace {

// An entry's rank among all of its column, as one number without ties: the bits of its magnitude,
// which are ordered as magnitudes are, above what is left of 2^32 behind its global row.
constexpr std::int64_t row_bits = 32;

at::Tensor keys_of(const at::Tensor& values, const at::Tensor& places) {
  return values.abs().view(at::kInt).to(at::kLong).bitwise_left_shift_(row_bits).add_(places);
}

at::Tensor magnitudes_of(const at::Tensor& keys) {
  return keys.bitwise_right_shift(row_bits).to(at::kInt).view(at::kFloat);
}

// Collective. The `kept`-th largest of the keys of each column over all ranks, [K, 1]; keys: [K,
// c]. Four bits a round, the highest first: as many as still have `kept` keys above.
at::Tensor least_winners(const at::Tensor& keys, std::int64_t kept, cluster::Communicator& comm) {
  constexpr std::int64_t digit_bits = 4, highest = 60;  // bit 63 is the sign
  auto least = at::zeros({keys.size(0), 1}, keys.options());
  for (auto shift = highest; shift >= 0; shift -= digit_bits) {
    const std::int64_t digits = shift == highest ? 8 : 16;
    const auto tries = least + at::arange(1, digits, keys.options()).bitwise_left_shift_(shift);
    std::vector<at::Tensor> above;
    for (const auto& one : tries.split(1, 1)) above.push_back((keys >= one).sum(1));
    auto counts = at::stack(above, 1);
    sum_over_ranks(counts, comm);
    const auto digit = (counts >= kept).sum(1, /*keepdim=*/true);
    least.add_(digit.bitwise_left_shift(shift));
  }
  return least;
}

}  // namespace

DeviceEntries keep_largest(const at::Tensor& rows, const at::Tensor& vectors, std::int64_t first,
                           std::int64_t kept, cluster::Communicator& comm) {
  const auto count = rows.size(0), columns = vectors.size(0);
  const auto most = std::min(kept, count);
  const auto whole = rows.options().dtype(at::kLong);
  const auto places = ((std::int64_t{1} << row_bits) - 1 - first) - at::arange(count, whole);
  auto keys = at::empty({columns, most}, whole), indices = at::empty_like(keys);
  auto values = at::empty({columns, most}, rows.options());
  const auto block = columns_a_block(count * 20);
  for (std::int64_t begin = 0; begin < columns; begin += block) {
    const auto part = [&](const at::Tensor& all) {
      return all.slice(0, begin, std::min(begin + block, columns));
    };
    const auto dense = at::mm(part(vectors), rows.t());
    const auto [largest, where] = keys_of(dense, places).topk(most);
    part(keys).copy_(largest);
    part(indices).copy_(where);
    part(values).copy_(dense.gather(1, where));
  }
  const auto least =
      comm.size() > 1 ? least_winners(keys, kept, comm) : keys.slice(1, most - 1, most).clone();
  const auto won = keys >= least;
  values.masked_fill_(won.logical_not(), 0);
  return {indices, values, won, magnitudes_of(least).squeeze(1)};
}

}  // namespace quench::dictionary
