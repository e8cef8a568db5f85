#pragma once

#include <cstdint>
#include <vector>

// The innermost loops of the factorisation, compiled for several instruction sets of which the best
// is taken at start. Rows are bfloat16 (as its 16 bits) or float32. Serial; nothing is checked.
namespace quench::dictionary::kernels {

using Half = std::uint16_t;  // a bfloat16: the upper half of a float32

float dot(const float* row, const float* vector, std::int64_t width);
float dot(const Half* row, const float* vector, std::int64_t width);

// sums[j] += sum over e of factors[e] * rows[places[e] * width + j], in float64.
void add_weighted(const float* rows, const std::int32_t* places, const float* factors,
                  std::int64_t entries, std::int64_t width, double* sums);
void add_weighted(const Half* rows, const std::int32_t* places, const float* factors,
                  std::int64_t entries, std::int64_t width, double* sums);

// Columns of a matrix lie in panels of so many, [rows, panel_columns] each, of which a core's
// second cache holds two of 8,000 rows and more.
constexpr std::int64_t panel_columns = 16;

// out[k * out_stride + j], j < width = sum over e of factors[e] * panel[places[e], j], of the e
// from offsets[k] to offsets[k + 1], for every k < columns. `next`: the panel that will be asked
// for after this one.
void multiply_panel(const float* panel, const float* next, const std::int32_t* places,
                    const float* factors, const std::int64_t* offsets, std::int64_t columns,
                    std::int64_t width, float* out, std::int64_t out_stride);

// Sum over e of factors[e] * values[places[e]], in float64.
double gathered_dot(const float* values, const std::int32_t* places, const float* factors,
                    std::int64_t entries);

// sums[i] += values[i].
void accumulate(const float* values, std::int64_t count, float* sums);
void accumulate(const float* values, std::int64_t count, double* sums);

void widen(const Half* from, std::int64_t count, float* to);

// Appends first + i and values[i] for every i with |values[i]| >= least, ascending.
void collect(const float* values, std::int64_t count, float least, std::int32_t first,
             std::vector<std::int32_t>& places, std::vector<float>& found);

// Appends every i with |values[i]| factor + norms[i] slack >= least, ascending.
void collect_bounded(const float* values, const float* norms, std::int64_t count, float factor,
                     float slack, float least, std::vector<std::int32_t>& places);

// For each of `lines` lines of 32 values, of which `count` matter: appends to places[line] first +
// i for every i with |values[line][i]| + norms[i] slack[line] >= least[line], ascending.
void collect_lines(const float* values, std::int64_t lines, std::int64_t count, const float* norms,
                   const float* slack, const float* least, std::int32_t first,
                   std::vector<std::int32_t>* places);

// How many values are at least `least` in magnitude.
std::int64_t count_from(const float* values, std::int64_t count, float least);

}  // namespace quench::dictionary::kernels
