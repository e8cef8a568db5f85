#include "stages/dictionary/search.hpp"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>

#include "stages/dictionary/half_product.hpp"
#include "stages/dictionary/panels.hpp"
#include "stages/dictionary/rounding.hpp"

namespace quench::dictionary {

namespace {

static_assert(HalfProduct::block_rows == 32, "as kernels::collect_lines has it");

at::Tensor lines_of(const at::Tensor& vectors, const std::vector<std::int64_t>& columns) {
  if (std::ssize(columns) == vectors.size(0)) return vectors.contiguous();
  return vectors.index_select(0, at::tensor(at::IntArrayRef(columns), at::kLong));
}

class FloatSearch final : public Search {
 public:
  explicit FloatSearch(const Rows& rows) : rows_(rows) {}

  void collect(const at::Tensor& vectors, const std::vector<std::int64_t>& columns,
               const std::vector<float>& least, Candidates& found) override {
    constexpr std::int64_t tile_numbers = std::int64_t{1} << 22;  // 16 MiB, a core's share of L3
    const auto count = std::ssize(columns);
    for (const auto k : columns) found.clear(k);
    const auto chosen = lines_of(vectors, columns);
    const auto panel =
        std::max<std::int64_t>(1, tile_numbers / std::max<std::int64_t>(count, rows_.width()));
    const auto tile =
        at::empty({count * std::min(panel, std::max<std::int64_t>(1, rows_.count()))}, at::kFloat);
    for_each_panel(rows_, panel, [&](const at::Tensor& part, std::int64_t first) {
      auto values = tile.slice(0, 0, count * part.size(0)).view({count, part.size(0)});
      at::mm_out(values, chosen, part.t());
      const float* numbers = values.const_data_ptr<float>();
      at::parallel_for(0, count, 1, [&](std::int64_t begin, std::int64_t end) {
        for (auto i = begin; i < end; ++i)
          kernels::collect(numbers + i * part.size(0), part.size(0), least[columns[i]],
                           static_cast<std::int32_t>(first), found.rows[columns[i]],
                           found.values[columns[i]]);
      });
    });
  }

 private:
  const Rows& rows_;
};

// Vectors rounded to bfloat16, and what that may change a product by, over the norm of its row.
struct Rounded {
  std::vector<kernels::Half> halves;
  std::vector<float> slack;
};

Rounded rounded(const at::Tensor& vectors) {
  const auto count = vectors.size(0), width = vectors.size(1);
  const float* numbers = vectors.const_data_ptr<float>();
  Rounded out{std::vector<kernels::Half>(vectors.numel()), std::vector<float>(count)};
  std::transform(numbers, numbers + vectors.numel(), out.halves.begin(), to_half);
  std::vector<float> back(width);
  for (std::int64_t k = 0; k < count; ++k) {
    kernels::widen(out.halves.data() + k * width, width, back.data());
    double gap = 0, length = 0;
    for (std::int64_t j = 0; j < width; ++j) {
      const double number = numbers[k * width + j];
      gap += (number - back[j]) * (number - back[j]);
      length += number * number;
    }
    out.slack[k] = static_cast<float>(std::sqrt(gap) + rounding * std::sqrt(length));
  }
  return out;
}

class HalfSearch final : public Search {
 public:
  explicit HalfSearch(const Rows& rows)
      : rows_(rows), product_(rows.halves(), rows.count(), rows.width()) {}

  void collect(const at::Tensor& vectors, const std::vector<std::int64_t>& columns,
               const std::vector<float>& least, Candidates& found) override {
    find_rows(lines_of(vectors, columns), columns, least, found);
    compute_values(rows_, vectors, columns, found);
    at::parallel_for(0, std::ssize(columns), 1, [&](std::int64_t begin, std::int64_t end) {
      for (auto i = begin; i < end; ++i) found.drop_below(columns[i], least[columns[i]]);
    });
  }

 private:
  void find_rows(const at::Tensor& chosen, const std::vector<std::int64_t>& columns,
                 const std::vector<float>& least, Candidates& found) {
    const auto vectors = rounded(chosen);
    const auto count = std::ssize(columns);
    std::vector<float> bounds;
    for (const auto k : columns) bounds.push_back(least[k]);
    std::vector<std::vector<std::vector<std::int32_t>>> places(  // [threads][columns]
        at::get_num_threads(), std::vector<std::vector<std::int32_t>>(count));
    product_.visit(vectors.halves, [&](const HalfProduct::Part& part) {
      kernels::collect_lines(
          part.sums, part.vectors, part.rows, rows_.norms().data() + part.first_row,
          vectors.slack.data() + part.first_vector, bounds.data() + part.first_vector,
          static_cast<std::int32_t>(part.first_row),
          places[at::get_thread_num()].data() + part.first_vector);
    });
    for (std::int64_t k = 0; k < count; ++k) {
      auto& rows = found.rows[columns[k]];
      rows.clear();
      for (const auto& of_thread : places)
        rows.insert(rows.end(), of_thread[k].begin(), of_thread[k].end());
    }
  }

  const Rows& rows_;
  HalfProduct product_;
};

}  // namespace

std::unique_ptr<Search> make_search(const Rows& rows) {
  if (rows.halved() && HalfProduct::available()) return std::make_unique<HalfSearch>(rows);
  return std::make_unique<FloatSearch>(rows);
}

}  // namespace quench::dictionary
