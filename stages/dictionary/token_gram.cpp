#include "stages/dictionary/token_gram.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <numeric>

#include "stages/dictionary/half_product.hpp"
#include "stages/dictionary/panels.hpp"

namespace quench::dictionary {

namespace {

constexpr std::int64_t panel_rows = 1024;

// Products of some rows with all rows from one on, less what they have in common.
class Products {
 public:
  Products(const Rows& rows, const TokenGram& gram) : rows_(rows) {
    const auto count = rows.count();
    if (rows.halved() && HalfProduct::available()) {
      half_product_.emplace(rows.halves(), count, rows.width());
      for (const double along : gram.along) shifts_.push_back(along + gram.square / 2);
      return;
    }
    all_ = at::empty({count, rows.width()}, at::kFloat);
    rows.copy(0, count, all_.mutable_data_ptr<float>());
    all_.sub_(at::tensor(at::ArrayRef<double>(gram.center), at::kDouble));
  }

  // out[i * count + j] for row lines[i] and row j >= from; some below may be written too.
  void multiply(std::span<const std::int64_t> lines, std::int64_t from, float* out) const {
    const auto count = rows_.count(), width = rows_.width();
    if (half_product_) {
      std::vector<kernels::Half> vectors;
      std::vector<double> shifts;
      for (const auto line : lines) {
        const auto* row = rows_.halves() + line * width;
        vectors.insert(vectors.end(), row, row + width);
        shifts.push_back(shifts_[line]);
      }
      half_product_->multiply_shifted(vectors, shifts.data(), shifts_.data(), from, out, count);
      return;
    }
    auto block =
        at::from_blob(out + from, {std::ssize(lines), count - from}, {count, 1}, at::kFloat);
    const auto index = at::tensor(at::IntArrayRef(lines.data(), lines.size()), at::kLong);
    at::mm_out(block, all_.index_select(0, index), all_.slice(0, from).t());
  }

 private:
  const Rows& rows_;
  std::optional<HalfProduct> half_product_;
  std::vector<double> shifts_;  // of a row: <a_i, u> - <u, u> / 2
  at::Tensor all_;              // a_i - u as float32, where there is no product of halves
};

std::vector<double> mean_row(const Rows& rows) {
  auto sum = at::zeros({rows.width()}, at::kDouble);
  for_each_panel(rows, panel_rows, [&](const at::Tensor& panel, std::int64_t) {
    sum.add_(panel.sum(0, false, at::kDouble));
  });
  sum.div_(std::max<std::int64_t>(1, rows.count()));
  return {sum.const_data_ptr<double>(), sum.const_data_ptr<double>() + rows.width()};
}

// Without its products.
TokenGram about(std::vector<double> center, const Rows& rows) {
  TokenGram out;
  out.center = std::move(center);
  const auto vector = at::tensor(at::ArrayRef<double>(out.center), at::kDouble);
  out.square = vector.dot(vector).item<double>();
  out.along.resize(rows.count());
  for_each_panel(rows, panel_rows, [&](const at::Tensor& panel, std::int64_t first) {
    const auto along = at::mv(panel.to(at::kDouble), vector).sub_(out.square);
    std::copy_n(along.const_data_ptr<double>(), panel.size(0), out.along.data() + first);
  });
  out.products = PanelMatrix(rows.count());
  return out;
}

// Lines of the gram and their mirror image from a block of them, for the columns j >= from:
// gram[line, j] = gram[j, line] = block[i, j] for every i-th of `lines`; a cache line at a time.
void place(const float* block, std::span<const std::int64_t> lines, std::int64_t count,
           std::int64_t from, PanelMatrix& gram) {
  constexpr std::int64_t tile = 16;
  const auto height = std::ssize(lines);
  at::parallel_for(from, count, 256, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = 0; i < height; ++i)
      gram.set(lines[i], begin, end, block + i * count + begin);
    for (std::int64_t i = 0; i < height; i += tile)
      for (auto j = begin; j < end; ++j)
        for (auto u = i; u < std::min(height, i + tile); ++u)
          gram.at(j, lines[u]) = block[u * count + j];
  });
}

// The rows `lines` of the gram, and the columns. Ascending lines of which all before are there:
// `triangle` computes from each block's first line on.
void fill(const Products& products, std::span<const std::int64_t> lines, std::int64_t count,
          bool triangle, PanelMatrix& gram) {
  constexpr std::int64_t most = 384;
  HugeVector<float> block(std::min<std::int64_t>(most, std::ssize(lines)) * count);
  for (std::int64_t first = 0; first < std::ssize(lines); first += most) {
    const auto part = lines.subspan(first, std::min(most, std::ssize(lines) - first));
    const auto from = triangle ? part[0] : 0;
    products.multiply(part, from, block.data());
    place(block.data(), part, count, from, gram);
  }
}

// Whether about this center rows are at most twice as far spread as about their mean: float32
// rounding in C is in proportion to it.
bool is_central(const std::vector<double>& center, const Rows& rows) {
  const auto mean = mean_row(rows);
  double length = 0, distance = 0;
  for (std::size_t j = 0; j < mean.size(); ++j) {
    length += mean[j] * mean[j];
    distance += (center[j] - mean[j]) * (center[j] - mean[j]);
  }
  const double scale = rows.scale() * rows.scale();
  const auto count = static_cast<double>(rows.count());
  return count * distance <= rows.square_norm() / scale - count * length;
}

}  // namespace

PanelMatrix::PanelMatrix(std::int64_t count) : count_(count), numbers_(panels() * count * width) {
  // What is beyond the last column is read, though not used.
  if (count % width != 0) std::fill(numbers_.end() - count * width, numbers_.end(), 0.0F);
}

void PanelMatrix::set(std::int64_t row, std::int64_t begin, std::int64_t end, const float* values) {
  while (begin < end) {
    const auto piece = std::min(end, (begin / width + 1) * width) - begin;
    std::copy_n(values, piece, &at(row, begin));
    values += piece;
    begin += piece;
  }
}

TokenGram token_gram(const Rows& rows) {
  auto out = about(mean_row(rows), rows);
  std::vector<std::int64_t> lines(rows.count());
  std::iota(lines.begin(), lines.end(), 0);
  fill(Products(rows, out), lines, rows.count(), true, out.products);
  return out;
}

SharedTokenGram::SharedTokenGram(std::vector<std::int32_t> tokens, std::function<Rows()> rows)
    : tokens_(std::move(tokens)), rows_(std::move(rows)) {}

const TokenGram& SharedTokenGram::block() const {
  const std::scoped_lock lock(mutex_);
  if (!block_) block_ = token_gram(rows_());
  return *block_;
}

TokenGram SharedTokenGram::of(const Rows& rows, std::span<const std::int32_t> tokens) const {
  const auto& shared = block();
  if (!is_central(shared.center, rows)) return token_gram(rows);
  const auto count = rows.count();
  std::vector<std::int64_t> own;            // lines that the block lacks
  std::vector<std::int64_t> lines, places;  // the others, and where they are in the block
  for (std::int64_t i = 0; i < count; ++i) {
    const auto found = std::ranges::lower_bound(tokens_, tokens[i]);
    if (found == tokens_.end() || *found != tokens[i]) {
      own.push_back(i);
    } else {
      lines.push_back(i);
      places.push_back(found - tokens_.begin());
    }
  }
  auto out = about(shared.center, rows);
  at::parallel_for(0, std::ssize(lines), 64, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = begin; i < end; ++i)
      for (std::size_t j = 0; j < lines.size(); ++j)
        out.products.at(lines[i], lines[j]) = shared.products.at(places[i], places[j]);
  });
  fill(Products(rows, out), own, count, false, out.products);
  return out;
}

}  // namespace quench::dictionary
