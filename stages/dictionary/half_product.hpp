#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "stages/dictionary/huge_pages.hpp"
#include "stages/dictionary/kernels.hpp"

namespace quench::dictionary {

// A copy of bfloat16 rows in the order in which a processor with bfloat16 dot products
// (AVX512-BF16) takes them: such a product of all rows with bfloat16 vectors runs at twice the rate
// of float32. Products of two numbers are exact, sums are float32. Local.
class HalfProduct {
 public:
  // Whether this processor can.
  static bool available();

  // rows: [count, width].
  HalfProduct(const kernels::Half* rows, std::int64_t count, std::int64_t width);

  // out[k * out_stride + i] = <row i, vector k>; vectors: [vectors, width].
  void multiply(std::span<const kernels::Half> vectors, float* out, std::int64_t out_stride) const;
  // The same less vector_shifts[k] and row_shifts[i], with float64 sums of short pieces, for the
  // rows i >= from (and perhaps a few before).
  void multiply_shifted(std::span<const kernels::Half> vectors, const double* vector_shifts,
                        const double* row_shifts, std::int64_t from, float* out,
                        std::int64_t out_stride) const;
  std::int64_t bytes() const { return static_cast<std::int64_t>(packed_.size()) * 4; }

 private:
  // finish(first vector, vectors, block, sums): sums [vectors, rows of a block], each of `piece`
  // pairs at most and added up in float64 where there are more.
  template <typename Sum, typename Finish>
  void for_each_block(std::span<const kernels::Half> vectors, std::int64_t from, std::int64_t piece,
                      const Finish& finish) const;

  std::int64_t count_, width_, pairs_;
  HugeVector<std::uint32_t> packed_;  // [blocks, pairs, rows of a block]: two neighbours of a row
};

// The nearest bfloat16, ties to even.
kernels::Half to_half(float value);

}  // namespace quench::dictionary
