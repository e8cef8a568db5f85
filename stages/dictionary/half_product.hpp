#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "stages/dictionary/half_engine.hpp"
#include "stages/dictionary/huge_pages.hpp"
#include "stages/dictionary/kernels.hpp"

namespace quench::dictionary {

// A copy of bfloat16 rows in the order in which a processor with bfloat16 products takes them: by
// dot products of pairs (AVX512-BF16), twice the rate of float32 on AMD's, or by tiles (AMX),
// several times that rate. Products of two numbers are exact, sums are float32. Local.
class HalfProduct {
 public:
  // Rows at a time.
  static constexpr std::int64_t block_rows = HalfEngine::block_rows;

  // Whether this processor can, faster than products of float32.
  static bool available();
  // How many times the rate of a float32 product, about; 1 where it cannot.
  static double speed();

  // rows: [count, width]. engine: null for the best one. Throws InternalError where there is none.
  HalfProduct(const kernels::Half* rows, std::int64_t count, std::int64_t width,
              const HalfEngine* engine = nullptr);

  // out[k * out_stride + i] = <row i, vector k>; vectors: [vectors, width].
  void multiply(std::span<const kernels::Half> vectors, float* out, std::int64_t out_stride) const;
  // The same less vector_shifts[k] and row_shifts[i], with float64 sums of short pieces, for the
  // rows i >= from (and perhaps a few before).
  void multiply_shifted(std::span<const kernels::Half> vectors, const double* vector_shifts,
                        const double* row_shifts, std::int64_t from, float* out,
                        std::int64_t out_stride) const;

  // What a product gives of some vectors and of a block of rows: sums [vectors, block_rows].
  struct Part {
    std::int64_t first_vector, vectors, first_row, rows;
    const float* sums;
  };
  // Calls visit with all parts, of several threads at once; the rows of a vector ascend on a
  // thread, and between threads of ascending number.
  void visit(std::span<const kernels::Half> vectors,
             const std::function<void(const Part&)>& visit) const;

  std::int64_t bytes() const { return static_cast<std::int64_t>(packed_.size()) * 4; }

 private:
  // finish(first vector, vectors, block, sums): sums [vectors, block_rows]; float64 ones are added
  // up of short float32 ones.
  template <typename Sum, typename Finish>
  void for_each_block(std::span<const kernels::Half> vectors, std::int64_t from,
                      const Finish& finish) const;

  const HalfEngine& engine_;
  std::int64_t count_, width_, pairs_;
  HugeVector<std::uint32_t> packed_;  // [blocks, pairs, rows of a block]: two neighbours of a row
};

// The nearest bfloat16, ties to even.
kernels::Half to_half(float value);

}  // namespace quench::dictionary
