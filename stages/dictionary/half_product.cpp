#include "stages/dictionary/half_product.hpp"

#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <bit>
#include <type_traits>

#include "cluster/error.hpp"

namespace quench::dictionary {

namespace {

std::uint32_t pair_of(const kernels::Half* values, std::int64_t place, std::int64_t width) {
  const std::uint32_t low = place < width ? values[place] : 0;
  const std::uint32_t high = place + 1 < width ? values[place + 1] : 0;
  return low | high << 16U;
}

std::int64_t round_up(std::int64_t value, std::int64_t step) {
  return (value + step - 1) / step * step;
}

const HalfEngine& best_engine() {
  if (half_engines().empty()) throw InternalError("this processor has no products of bfloat16");
  return half_engines().front();
}

// The registers of products are set up as long as this lives.
class Entered {
 public:
  explicit Entered(const HalfEngine& engine) : engine_(engine) { engine_.enter(); }
  ~Entered() { engine_.leave(); }
  Entered(const Entered&) = delete;
  Entered& operator=(const Entered&) = delete;

 private:
  const HalfEngine& engine_;
};

}  // namespace

bool HalfProduct::available() { return !half_engines().empty() && best_engine().speed > 1; }

double HalfProduct::speed() { return available() ? best_engine().speed : 1; }

HalfProduct::HalfProduct(const kernels::Half* rows, std::int64_t count, std::int64_t width,
                         const HalfEngine* engine)
    : engine_(engine == nullptr ? best_engine() : *engine),
      count_(count),
      width_(width),
      pairs_(round_up((width + 1) / 2, engine_.pair_step)) {
  const auto blocks = (count + block_rows - 1) / block_rows;
  packed_.resize(blocks * pairs_ * block_rows);
  at::parallel_for(0, blocks, 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto r = begin * block_rows; r < end * block_rows; ++r) {
      auto* block = packed_.data() + r / block_rows * pairs_ * block_rows + r % block_rows;
      for (std::int64_t p = 0; p < pairs_; ++p)
        block[p * block_rows] = r < count ? pair_of(rows + r * width, 2 * p, width) : 0;
    }
  });
}

// Blocks of rows that the second cache holds, times a group of vectors that the first one holds.
template <typename Sum, typename Finish>
void HalfProduct::for_each_block(std::span<const kernels::Half> vectors, std::int64_t from,
                                 const Finish& finish) const {
  constexpr std::int64_t panel_bytes = std::int64_t{1} << 19;
  constexpr std::int64_t piece = 64;  // pairs that are added up in float32
  const auto count = std::ssize(vectors) / width_;
  const auto units = (count + engine_.granule - 1) / engine_.granule;
  const auto groups = (units * engine_.granule + engine_.most_vectors - 1) / engine_.most_vectors;
  std::vector<std::uint32_t> pairs(units * engine_.granule * pairs_, 0);
  for (std::int64_t k = 0; k < count; ++k)
    for (std::int64_t p = 0; p < pairs_; ++p)
      pairs[k * pairs_ + p] = pair_of(vectors.data() + k * width_, 2 * p, width_);

  const auto multiply = [&](std::int64_t block, std::int64_t first, std::int64_t size,
                            std::int64_t from_pair, std::int64_t some, float* out) {
    engine_.multiply(packed_.data() + (block * pairs_ + from_pair) * block_rows,
                     pairs.data() + first * pairs_ + from_pair, pairs_, size, some, out);
  };
  const auto visit = [&](std::int64_t group, std::int64_t block) {
    alignas(64) std::array<float, HalfEngine::most * block_rows> part;
    const auto first = units * group / groups * engine_.granule;  // groups of nearly equal size
    const auto size = std::min(count, units * (group + 1) / groups * engine_.granule) - first;
    if constexpr (std::is_same_v<Sum, float>) {
      multiply(block, first, size, 0, pairs_, part.data());
      finish(first, size, block, part.data());
    } else {
      std::array<Sum, HalfEngine::most * block_rows> sums{};
      for (std::int64_t p = 0; p < pairs_; p += piece) {
        multiply(block, first, size, p, std::min(piece, pairs_ - p), part.data());
        kernels::accumulate(part.data(), size * block_rows, sums.data());
      }
      finish(first, size, block, sums.data());
    }
  };
  const auto blocks = (count_ + block_rows - 1) / block_rows;
  const auto panel = std::max<std::int64_t>(1, panel_bytes / (pairs_ * block_rows * 4));
  at::parallel_for(from / block_rows, blocks, 4, [&](std::int64_t begin, std::int64_t end) {
    const Entered entered(engine_);
    for (auto b = begin; b < end; b += panel)
      for (std::int64_t group = 0; group < groups; ++group)
        for (auto block = b; block < std::min(end, b + panel); ++block) visit(group, block);
  });
}

void HalfProduct::visit(std::span<const kernels::Half> vectors,
                        const std::function<void(const Part&)>& visit) const {
  for_each_block<float>(
      vectors, 0,
      [&](std::int64_t first, std::int64_t size, std::int64_t block, const float* sums) {
        const auto place = block * block_rows;
        visit({first, size, place, std::min(block_rows, count_ - place), sums});
      });
}

void HalfProduct::multiply(std::span<const kernels::Half> vectors, float* out,
                           std::int64_t out_stride) const {
  visit(vectors, [&](const Part& part) {
    for (std::int64_t k = 0; k < part.vectors; ++k)
      std::copy_n(part.sums + k * block_rows, part.rows,
                  out + (part.first_vector + k) * out_stride + part.first_row);
  });
}

void HalfProduct::multiply_shifted(std::span<const kernels::Half> vectors,
                                   const double* vector_shifts, const double* row_shifts,
                                   std::int64_t from, float* out, std::int64_t out_stride) const {
  for_each_block<double>(
      vectors, from,
      [&](std::int64_t first, std::int64_t size, std::int64_t block, const double* sums) {
        const auto place = block * block_rows;
        const auto rows = std::min(block_rows, count_ - place);
        for (std::int64_t k = 0; k < size; ++k)
          for (std::int64_t i = 0; i < rows; ++i)
            out[(first + k) * out_stride + place + i] = static_cast<float>(
                sums[k * block_rows + i] - vector_shifts[first + k] - row_shifts[place + i]);
      });
}

kernels::Half to_half(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7f800000U) == 0x7f800000U) return static_cast<kernels::Half>(bits >> 16U);
  return static_cast<kernels::Half>((bits + 0x7fffU + ((bits >> 16U) & 1U)) >> 16U);
}

}  // namespace quench::dictionary
