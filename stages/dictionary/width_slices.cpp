#include "stages/dictionary/width_slices.hpp"

#include "cluster/partition.hpp"

namespace quench::dictionary {

WidthSlices::WidthSlices(std::int64_t width, cluster::Communicator& group)
    : group_(group), begins_{0} {
  for (int rank = 0; rank < group.size(); ++rank)
    begins_.push_back(cluster::rows_of(width, group.size(), rank).end);
}

std::vector<std::int64_t> WidthSlices::counts_of(std::int64_t rows) const {
  std::vector<std::int64_t> counts;
  for (std::size_t r = 0; r + 1 < begins_.size(); ++r)
    counts.push_back(rows * (begins_[r + 1] - begins_[r]));
  return counts;
}

at::Tensor WidthSlices::reduce(const at::Tensor& parts) const {
  if (group_.size() == 1) return parts;
  const auto rows = parts.size(0);
  std::vector<at::Tensor> slices;
  for (std::size_t r = 0; r + 1 < begins_.size(); ++r)
    slices.push_back(parts.slice(1, begins_[r], begins_[r + 1]).flatten());
  const auto all = at::cat(slices);
  const auto counts = counts_of(rows);
  const auto own = begins_[group_.rank() + 1] - begins_[group_.rank()];
  auto out = at::empty({rows, own}, at::kDouble);
  group_.reduce_scatter_v({all.const_data_ptr(), all.numel(), cluster::DType::f64},
                          {out.mutable_data_ptr(), out.numel(), cluster::DType::f64}, counts,
                          cluster::Op::sum);
  return out;
}

at::Tensor WidthSlices::gather(const at::Tensor& own) const {
  if (group_.size() == 1) return own;
  const auto rows = own.size(0);
  const auto local = own.contiguous();
  const auto all = at::empty({rows * begins_.back()}, at::kDouble);
  group_.all_gather_v({local.const_data_ptr(), local.numel(), cluster::DType::f64},
                      {all.mutable_data_ptr(), all.numel(), cluster::DType::f64}, counts_of(rows));
  std::vector<at::Tensor> slices;
  for (std::size_t r = 0; r + 1 < begins_.size(); ++r)
    slices.push_back(all.slice(0, rows * begins_[r], rows * begins_[r + 1])
                         .view({rows, begins_[r + 1] - begins_[r]}));
  return at::cat(slices, 1);
}

}  // namespace quench::dictionary
