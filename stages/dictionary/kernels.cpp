#include "stages/dictionary/kernels.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "cluster/clones.hpp"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define QUENCH_AVX512
#endif

namespace quench::dictionary::kernels {

namespace {

constexpr std::int64_t lanes = 16;
using Floats __attribute__((vector_size(64))) = float;
using Words __attribute__((vector_size(64))) = std::uint32_t;
using Halves __attribute__((vector_size(32))) = std::uint16_t;
using Doubles __attribute__((vector_size(64))) = double;
using Floats8 __attribute__((vector_size(32))) = float;
using Words8 __attribute__((vector_size(32))) = std::uint32_t;
using Halves8 __attribute__((vector_size(16))) = std::uint16_t;

[[gnu::always_inline]] inline void load(const float* from, Floats& to) {
  std::memcpy(&to, from, sizeof to);
}
[[gnu::always_inline]] inline void load(const Half* from, Floats& to) {
  Halves halves;
  std::memcpy(&halves, from, sizeof halves);
  const Words words = __builtin_convertvector(halves, Words) << 16;
  std::memcpy(&to, &words, sizeof to);
}

[[gnu::always_inline]] inline void load(const float* from, Doubles& to) {
  Floats8 floats;
  std::memcpy(&floats, from, sizeof floats);
  to = __builtin_convertvector(floats, Doubles);
}
[[gnu::always_inline]] inline void load(const Half* from, Doubles& to) {
  Halves8 halves;
  std::memcpy(&halves, from, sizeof halves);
  const Words8 words = __builtin_convertvector(halves, Words8) << 16;
  Floats8 floats;
  std::memcpy(&floats, &words, sizeof floats);
  to = __builtin_convertvector(floats, Doubles);
}

inline float number(float value) { return value; }
inline float number(Half value) {
  const std::uint32_t bits = static_cast<std::uint32_t>(value) << 16;
  float out;
  std::memcpy(&out, &bits, sizeof out);
  return out;
}

template <typename T>
[[gnu::always_inline]] inline float dot_of(const T* row, const float* vector, std::int64_t width) {
  Floats sums[4] = {};
  Floats a, b;
  std::int64_t i = 0;
  for (; i + 4 * lanes <= width; i += 4 * lanes) {
    for (std::int64_t u = 0; u < 4; ++u) {
      load(row + i + u * lanes, a);
      load(vector + i + u * lanes, b);
      sums[u] += a * b;
    }
  }
  for (; i + lanes <= width; i += lanes) {
    load(row + i, a);
    load(vector + i, b);
    sums[0] += a * b;
  }
  sums[0] = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  float total = 0;
  for (std::int64_t lane = 0; lane < lanes; ++lane) total += sums[0][lane];
  for (; i < width; ++i) total += number(row[i]) * vector[i];
  return total;
}

// Adds some rows to the sums, which are loaded and stored once for all of them.
template <std::int64_t Some, typename T>
[[gnu::always_inline]] inline void add_rows(const T* rows, const std::int32_t* places,
                                            const float* factors, std::int64_t width,
                                            double* sums) {
  const T* row[Some];
  for (std::int64_t e = 0; e < Some; ++e) row[e] = rows + places[e] * width;
  std::int64_t j = 0;
  for (; j + 8 <= width; j += 8) {
    Doubles numbers, total;
    std::memcpy(&total, sums + j, sizeof total);
    for (std::int64_t e = 0; e < Some; ++e) {
      load(row[e] + j, numbers);
      total += numbers * static_cast<double>(factors[e]);
    }
    std::memcpy(sums + j, &total, sizeof total);
  }
  for (; j < width; ++j)
    for (std::int64_t e = 0; e < Some; ++e)
      sums[j] += static_cast<double>(number(row[e][j])) * static_cast<double>(factors[e]);
}

// Rows are added so many at a time, while the next ones are asked for.
constexpr std::int64_t some = 4;

template <typename T>
[[gnu::always_inline]] inline void ask_for(const T* rows, const std::int32_t* places,
                                           std::int64_t begin, std::int64_t end,
                                           std::int64_t width) {
  constexpr std::int64_t line = 64 / sizeof(T);
  for (auto next = begin; next < end; ++next)
    for (std::int64_t j = 0; j < width; j += line)
      __builtin_prefetch(rows + places[next] * width + j);
}

template <typename T>
[[gnu::always_inline]] inline void add_weighted_of(const T* rows, const std::int32_t* places,
                                                   const float* factors, std::int64_t entries,
                                                   std::int64_t width, double* sums) {
  std::int64_t e = 0;
  for (; e + some <= entries; e += some) {
    ask_for(rows, places, e + some, std::min(entries, e + 2 * some), width);
    add_rows<some>(rows, places + e, factors + e, width, sums);
  }
  for (; e < entries; ++e) add_rows<1>(rows, places + e, factors + e, width, sums);
}

}  // namespace

QUENCH_CLONES float dot(const float* row, const float* vector, std::int64_t width) {
  return dot_of(row, vector, width);
}
QUENCH_CLONES float dot(const Half* row, const float* vector, std::int64_t width) {
  return dot_of(row, vector, width);
}

QUENCH_CLONES void add_weighted(const float* rows, const std::int32_t* places, const float* factors,
                                std::int64_t entries, std::int64_t width, double* sums) {
  add_weighted_of(rows, places, factors, entries, width, sums);
}

namespace {

QUENCH_CLONES void add_halves(const Half* rows, const std::int32_t* places, const float* factors,
                              std::int64_t entries, std::int64_t width, double* sums) {
  add_weighted_of(rows, places, factors, entries, width, sums);
}

#ifdef QUENCH_AVX512
// The same by hand: compilers take bfloat16 to float64 through pieces of a register.
template <std::int64_t Some>
__attribute__((target("avx512f,avx512vl"))) void add_rows_by_hand(const Half* rows,
                                                                  const std::int32_t* places,
                                                                  const float* factors,
                                                                  std::int64_t width,
                                                                  double* sums) {
  const Half* row[Some];
  __m512d factor[Some];
  for (std::int64_t e = 0; e < Some; ++e) {
    row[e] = rows + places[e] * width;
    factor[e] = _mm512_set1_pd(static_cast<double>(factors[e]));
  }
  for (std::int64_t j = 0; j < width; j += 8) {
    const auto left = width - j;
    const auto mask =
        static_cast<__mmask8>(left < 8 ? (1U << static_cast<unsigned>(left)) - 1 : 0xffU);
    __m512d total = _mm512_maskz_loadu_pd(mask, sums + j);
    for (std::int64_t e = 0; e < Some; ++e) {
      alignas(16) Half tail[8] = {};
      const Half* from = row[e] + j;
      if (left < 8) from = static_cast<const Half*>(std::memcpy(tail, from, left * sizeof(Half)));
      const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)from));
      const __m512d numbers =
          _mm512_maskz_cvtps_pd(0xffU, _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16)));
      total = _mm512_fmadd_pd(numbers, factor[e], total);
    }
    _mm512_mask_storeu_pd(sums + j, mask, total);
  }
}

__attribute__((target("avx512f,avx512vl"))) void add_halves_by_hand(
    const Half* rows, const std::int32_t* places, const float* factors, std::int64_t entries,
    std::int64_t width, double* sums) {
  std::int64_t e = 0;
  for (; e + some <= entries; e += some) {
    ask_for(rows, places, e + some, std::min(entries, e + 2 * some), width);
    add_rows_by_hand<some>(rows, places + e, factors + e, width, sums);
  }
  for (; e < entries; ++e) add_rows_by_hand<1>(rows, places + e, factors + e, width, sums);
}
#endif

}  // namespace

void add_weighted(const Half* rows, const std::int32_t* places, const float* factors,
                  std::int64_t entries, std::int64_t width, double* sums) {
#ifdef QUENCH_AVX512
  static const bool by_hand = __builtin_cpu_supports("avx512vl") != 0;
  if (by_hand) return add_halves_by_hand(rows, places, factors, entries, width, sums);
#endif
  add_halves(rows, places, factors, entries, width, sums);
}

// A column's sums stay in a register and the panel in a cache; the next one comes in meanwhile,
// since lines in no order are not fetched ahead by themselves.
QUENCH_CLONES void multiply_panel(const float* panel, const float* next, const std::int32_t* places,
                                  const float* factors, const std::int64_t* offsets,
                                  std::int64_t columns, std::int64_t width, float* out,
                                  std::int64_t out_stride) {
  static_assert(panel_columns == lanes);
  for (std::int64_t k = 0; k < columns; ++k) {
    Floats sums = {}, line;
    for (auto e = offsets[k]; e < offsets[k + 1]; ++e) {
      load(panel + places[e] * panel_columns, line);
      sums += line * (Floats{} + factors[e]);
      __builtin_prefetch(next + places[e] * panel_columns, 0, 2);
    }
    std::memcpy(out + k * out_stride, &sums, width * sizeof(float));
  }
}

QUENCH_CLONES double gathered_dot(const float* values, const std::int32_t* places,
                                  const float* factors, std::int64_t entries) {
  double sums[4] = {};
  std::int64_t e = 0;
  for (; e + 4 <= entries; e += 4)
    for (std::int64_t u = 0; u < 4; ++u)
      sums[u] += static_cast<double>(factors[e + u]) * static_cast<double>(values[places[e + u]]);
  for (; e < entries; ++e)
    sums[0] += static_cast<double>(factors[e]) * static_cast<double>(values[places[e]]);
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

QUENCH_CLONES void accumulate(const float* values, std::int64_t count, float* sums) {
  for (std::int64_t i = 0; i < count; ++i) sums[i] += values[i];
}
QUENCH_CLONES void accumulate(const float* values, std::int64_t count, double* sums) {
  for (std::int64_t i = 0; i < count; ++i) sums[i] += static_cast<double>(values[i]);
}

QUENCH_CLONES void widen(const Half* from, std::int64_t count, float* to) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = number(from[i]);
}

// Few values pass: a block is looked at one by one only when one of it does.
QUENCH_CLONES void collect(const float* values, std::int64_t count, float least, std::int32_t first,
                           std::vector<std::int32_t>& places, std::vector<float>& found) {
  for (std::int64_t i = 0; i < count; i += lanes) {
    const bool whole = i + lanes <= count;
    int any = whole ? 0 : 1;
    if (whole)
      for (std::int64_t j = 0; j < lanes; ++j) any |= std::fabs(values[i + j]) >= least;
    if (any == 0) continue;
    for (auto j = i; j < (whole ? i + lanes : count); ++j) {
      if (!(std::fabs(values[j]) >= least)) continue;
      places.push_back(first + static_cast<std::int32_t>(j));
      found.push_back(values[j]);
    }
  }
}

QUENCH_CLONES void collect_bounded(const float* values, const float* norms, std::int64_t count,
                                   float factor, float slack, float least,
                                   std::vector<std::int32_t>& places) {
  for (std::int64_t i = 0; i < count; i += lanes) {
    const bool whole = i + lanes <= count;
    int any = whole ? 0 : 1;
    if (whole)
      for (std::int64_t j = 0; j < lanes; ++j)
        any |= std::fabs(values[i + j]) * factor + norms[i + j] * slack >= least;
    if (any == 0) continue;
    for (auto j = i; j < (whole ? i + lanes : count); ++j)
      if (std::fabs(values[j]) * factor + norms[j] * slack >= least)
        places.push_back(static_cast<std::int32_t>(j));
  }
}

QUENCH_CLONES void collect_lines(const float* values, std::int64_t lines, std::int64_t count,
                                 const float* norms, const float* slack, const float* least,
                                 std::int32_t first, std::vector<std::int32_t>* places) {
  constexpr std::int64_t line = 32;
  float longest = 0;
  for (std::int64_t i = 0; i < count; ++i) longest = norms[i] > longest ? norms[i] : longest;
  for (std::int64_t k = 0; k < lines; ++k, values += line) {
    const float bound = least[k] - longest * slack[k];
    int any = 0;
    for (std::int64_t i = 0; i < line; ++i) any |= std::fabs(values[i]) >= bound;
    if (any == 0) continue;
    for (std::int64_t i = 0; i < count; ++i)
      if (std::fabs(values[i]) + norms[i] * slack[k] >= least[k])
        places[k].push_back(first + static_cast<std::int32_t>(i));
  }
}

QUENCH_CLONES std::int64_t count_from(const float* values, std::int64_t count, float least) {
  std::int64_t total = 0;
  for (std::int64_t i = 0; i < count; ++i) total += std::fabs(values[i]) >= least ? 1 : 0;
  return total;
}

}  // namespace quench::dictionary::kernels
