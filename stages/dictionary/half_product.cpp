#include "stages/dictionary/half_product.hpp"

#include <ATen/Parallel.h>

#include <algorithm>
#include <bit>

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define QUENCH_HALF_PRODUCT 1
#endif

namespace quench::dictionary {

namespace {

constexpr std::int64_t block_rows = 32;

std::uint32_t pair_of(const kernels::Half* values, std::int64_t place, std::int64_t width) {
  const std::uint32_t low = values[place];
  const std::uint32_t high = place + 1 < width ? values[place + 1] : 0;
  return low | high << 16U;
}

#ifdef QUENCH_HALF_PRODUCT
// One block of rows times `Count` vectors, over some pairs: all sums stay in registers.
template <int Count>
__attribute__((target("avx512f,avx512bf16"))) void multiply_block(const std::uint32_t* rows,
                                                                  const std::uint32_t* vectors,
                                                                  std::int64_t stride,
                                                                  std::int64_t pairs, float* out) {
  __m512 sums[Count][2];
#pragma GCC unroll 12
  for (int k = 0; k < Count; ++k) sums[k][0] = sums[k][1] = _mm512_setzero_ps();
  for (std::int64_t p = 0; p < pairs; ++p) {
    const auto low = (__m512bh)_mm512_loadu_si512(rows + p * block_rows);
    const auto high = (__m512bh)_mm512_loadu_si512(rows + p * block_rows + block_rows / 2);
#pragma GCC unroll 12
    for (int k = 0; k < Count; ++k) {
      const auto both = (__m512bh)_mm512_set1_epi32(static_cast<int>(vectors[k * stride + p]));
      sums[k][0] = _mm512_dpbf16_ps(sums[k][0], low, both);
      sums[k][1] = _mm512_dpbf16_ps(sums[k][1], high, both);
    }
  }
#pragma GCC unroll 12
  for (int k = 0; k < Count; ++k) {
    _mm512_storeu_ps(out + k * block_rows, sums[k][0]);
    _mm512_storeu_ps(out + k * block_rows + block_rows / 2, sums[k][1]);
  }
}
#endif

#ifdef QUENCH_HALF_PRODUCT
using Block = void (*)(const std::uint32_t*, const std::uint32_t*, std::int64_t, std::int64_t,
                       float*);

constexpr std::int64_t most = 12;  // vectors at a time: 24 of the 32 registers
constexpr Block blocks_of[most + 1] = {nullptr,           multiply_block<1>,  multiply_block<2>,
                                       multiply_block<3>, multiply_block<4>,  multiply_block<5>,
                                       multiply_block<6>, multiply_block<7>,  multiply_block<8>,
                                       multiply_block<9>, multiply_block<10>, multiply_block<11>,
                                       multiply_block<12>};
#endif

}  // namespace

bool HalfProduct::available() {
#ifdef QUENCH_HALF_PRODUCT
  return __builtin_cpu_supports("avx512bf16") != 0;
#else
  return false;
#endif
}

HalfProduct::HalfProduct(const kernels::Half* rows, std::int64_t count, std::int64_t width)
    : count_(count), width_(width), pairs_((width + 1) / 2) {
  const auto blocks = (count + block_rows - 1) / block_rows;
  packed_.resize(blocks * pairs_ * block_rows);
  at::parallel_for(0, blocks, 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto r = begin * block_rows; r < std::min(end * block_rows, count); ++r) {
      auto* block = packed_.data() + r / block_rows * pairs_ * block_rows + r % block_rows;
      for (std::int64_t p = 0; p < pairs_; ++p)
        block[p * block_rows] = pair_of(rows + r * width, 2 * p, width);
    }
  });
}

template <typename Sum, typename Finish>
void HalfProduct::for_each_block([[maybe_unused]] std::span<const kernels::Half> vectors,
                                 [[maybe_unused]] std::int64_t from,
                                 [[maybe_unused]] std::int64_t piece,
                                 [[maybe_unused]] const Finish& finish) const {
#ifdef QUENCH_HALF_PRODUCT
  const auto count = std::ssize(vectors) / width_;
  std::vector<std::uint32_t> pairs(count * pairs_);
  for (std::int64_t k = 0; k < count; ++k)
    for (std::int64_t p = 0; p < pairs_; ++p)
      pairs[k * pairs_ + p] = pair_of(vectors.data() + k * width_, 2 * p, width_);
  const auto groups = (count + most - 1) / most;
  const auto blocks = (count_ + block_rows - 1) / block_rows;
  at::parallel_for(from / block_rows, blocks, 4, [&](std::int64_t begin, std::int64_t end) {
    alignas(64) float part[most * block_rows];
    alignas(64) Sum sums[most * block_rows];
    for (auto b = begin; b < end; ++b) {
      for (std::int64_t g = 0; g < groups; ++g) {
        const auto first = count * g / groups;  // groups of nearly equal size
        const auto size = count * (g + 1) / groups - first;
        std::fill_n(sums, size * block_rows, Sum{0});
        for (std::int64_t p = 0; p < pairs_; p += piece) {
          blocks_of[size](packed_.data() + (b * pairs_ + p) * block_rows,
                          pairs.data() + first * pairs_ + p, pairs_, std::min(piece, pairs_ - p),
                          part);
          kernels::accumulate(part, size * block_rows, sums);
        }
        finish(first, size, b, sums);
      }
    }
  });
#endif
}

void HalfProduct::multiply(std::span<const kernels::Half> vectors, float* out,
                           std::int64_t out_stride) const {
  for_each_block<float>(
      vectors, 0, pairs_,
      [&](std::int64_t first, std::int64_t size, std::int64_t block, const float* sums) {
        const auto rows = std::min(block_rows, count_ - block * block_rows);
        for (std::int64_t k = 0; k < size; ++k)
          std::copy_n(sums + k * block_rows, rows,
                      out + (first + k) * out_stride + block * block_rows);
      });
}

void HalfProduct::multiply_shifted(std::span<const kernels::Half> vectors,
                                   const double* vector_shifts, const double* row_shifts,
                                   std::int64_t from, float* out, std::int64_t out_stride) const {
  constexpr std::int64_t piece = 64;
  for_each_block<double>(
      vectors, from, piece,
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
