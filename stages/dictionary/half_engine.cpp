#include "stages/dictionary/half_engine.hpp"

#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <vector>

namespace quench::dictionary {

namespace {

constexpr std::int64_t block_rows = HalfEngine::block_rows;

void nothing() {}

// Dot products of pairs: one block of rows times `Count` vectors, all sums in registers.
template <int Count>
__attribute__((target("avx512f,avx512bf16"))) void multiply_count(const std::uint32_t* rows,
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

constexpr std::int64_t most_dots = 12;  // vectors at a time: 24 of the 32 registers
using Dots = void (*)(const std::uint32_t*, const std::uint32_t*, std::int64_t, std::int64_t,
                      float*);
constexpr std::array<Dots, most_dots> dots_of{
    multiply_count<1>, multiply_count<2>,  multiply_count<3>,  multiply_count<4>,
    multiply_count<5>, multiply_count<6>,  multiply_count<7>,  multiply_count<8>,
    multiply_count<9>, multiply_count<10>, multiply_count<11>, multiply_count<12>};

void multiply_dots(const std::uint32_t* rows, const std::uint32_t* vectors, std::int64_t stride,
                   std::int64_t count, std::int64_t pairs, float* out) {
  dots_of[count - 1](rows, vectors, stride, pairs, out);
}

// Tiles: 16 vectors or 32 times a block of rows, of 16 pairs a step. Tiles 0 to 3 are sums, 4 and 5
// vectors, 6 and 7 rows.
constexpr std::int64_t side = 16;

struct alignas(64) TileShapes {
  std::uint8_t palette = 1, start_row = 0;
  std::array<std::uint8_t, 14> reserved{};
  std::array<std::uint16_t, 16> bytes_of_row{64, 64, 64, 64, 64, 64, 64, 64};
  std::array<std::uint8_t, 16> rows{side, side, side, side, side, side, side, side};
};
static_assert(sizeof(TileShapes) == 64);

__attribute__((target("amx-tile"))) void shape_tiles() {
  static const TileShapes shapes;
  _tile_loadconfig(&shapes);
}

__attribute__((target("amx-tile"))) void release_tiles() { _tile_release(); }

__attribute__((target("amx-tile,amx-bf16"))) void multiply_tiles(const std::uint32_t* rows,
                                                                 const std::uint32_t* vectors,
                                                                 std::int64_t stride,
                                                                 std::int64_t count,
                                                                 std::int64_t pairs, float* out) {
  const bool both = count > side;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (std::int64_t p = 0; p < pairs; p += side) {
    _tile_loadd(6, rows + p * block_rows, block_rows * 4);
    _tile_loadd(7, rows + p * block_rows + side, block_rows * 4);
    _tile_loadd(4, vectors + p, stride * 4);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    if (!both) continue;
    _tile_loadd(5, vectors + side * stride + p, stride * 4);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, out, block_rows * 4);
  _tile_stored(1, out + side, block_rows * 4);
  _tile_stored(2, out + side * block_rows, block_rows * 4);
  _tile_stored(3, out + side * block_rows + side, block_rows * 4);
}

// Linux grants the tiles' registers on request, for the whole process.
bool tiles_granted() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned bfloat16 = 1U << 22U, tile = 1U << 24U;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  if ((d & bfloat16) == 0 || (d & tile) == 0) return false;
  constexpr long request_permission = 0x1023, tile_data = 18;
  return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}

}  // namespace

std::span<const HalfEngine> half_engines() {
  static const std::vector<HalfEngine> engines = [] {
    std::vector<HalfEngine> out;
    if (tiles_granted())
      out.push_back({"tiles", 2 * side, side, side, 5, shape_tiles, release_tiles, multiply_tiles});
    // Intel's cores do them at half the rate of float32 ones (Emerald Rapids: 84 GFLOP/s against
    // 172 of a core), AMD's at twice that rate.
    const double speed = __builtin_cpu_is("intel") != 0 ? 0.5 : 1.8;
    if (__builtin_cpu_supports("avx512bf16") != 0)
      out.push_back({"dots", most_dots, 1, 1, speed, nothing, nothing, multiply_dots});
    return out;
  }();
  return engines;
}

}  // namespace quench::dictionary
#else
namespace quench::dictionary {

std::span<const HalfEngine> half_engines() { return {}; }

}  // namespace quench::dictionary
#endif
