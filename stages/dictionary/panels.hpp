#pragma once

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdint>

#include "stages/dictionary/rows.hpp"

namespace quench::dictionary {

// Rows of A^T as float32, a panel at a time, so that a product with them is made of what the cache
// holds. visit(panel [count, width], first row); stored units. Local.
template <typename Visit>
void for_each_panel(const Rows& rows, std::int64_t panel_rows, const Visit& visit) {
  const auto most = std::min(rows.count(), std::max<std::int64_t>(1, panel_rows));
  const auto buffer = at::empty({most, rows.width()}, at::kFloat);
  for (std::int64_t first = 0; first < rows.count(); first += most) {
    const auto count = std::min(most, rows.count() - first);
    at::parallel_for(0, count, 64, [&](std::int64_t begin, std::int64_t end) {
      rows.copy(first + begin, end - begin,
                buffer.mutable_data_ptr<float>() + begin * rows.width());
    });
    visit(buffer.slice(0, 0, count), first);
  }
}

}  // namespace quench::dictionary
