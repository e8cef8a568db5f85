#include "stages/relearning/trainee.hpp"

#include <algorithm>
#include <set>

namespace quench::relearning {

namespace {

std::vector<std::int32_t> distinct_tokens(const TokenRows& text) {
  std::set<std::int32_t> ids;
  for (const auto& row : text) ids.insert(row.begin(), row.end());
  return {ids.begin(), ids.end()};
}

at::Tensor index_of(const std::vector<std::int32_t>& ids) {
  return at::tensor(std::vector<std::int64_t>(ids.begin(), ids.end()), at::kLong);
}

// The rows of these ids as the edited model has them.
at::Tensor current_rows(const at::Tensor& embedding, const model::RowOverlay& edits,
                        const std::vector<std::int32_t>& ids) {
  auto rows = embedding.index_select(0, index_of(ids));
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (!edits.edits(ids[i])) continue;
    rows[static_cast<std::int64_t>(i)].copy_(edits.rows[edits.row_of_id[ids[i]].item<int>()]);
  }
  return rows;
}

}  // namespace

at::Tensor Trainee::leaf(const at::Tensor& values) {
  auto copy = values.detach().clone(at::MemoryFormat::Contiguous).set_requires_grad(true);
  parameters_.push_back(copy);
  return copy;
}

Trainee::Trainee(const model::ModelConfig& config, const model::Weights& base,
                 const model::RowOverlay& edits, const TokenRows& text)
    : config_(config), weights_(base) {
  const auto trained = distinct_tokens(text);
  std::vector<std::int32_t> fixed;
  std::ranges::set_difference(edits.ids, trained, std::back_inserter(fixed));
  trained_rows_ = leaf(current_rows(base.embedding, edits, trained));
  fixed_rows_ = current_rows(base.embedding, edits, fixed);

  std::ranges::set_union(trained, fixed, std::back_inserter(ids_));
  auto place = at::empty({static_cast<std::int64_t>(ids_.size())}, at::kLong);
  row_of_id_ = at::full({base.embedding.size(0)}, -1, at::kInt);
  for (std::size_t i = 0; i < ids_.size(); ++i) {
    const auto in_trained = std::ranges::lower_bound(trained, ids_[i]);
    const bool is_trained = in_trained != trained.end() && *in_trained == ids_[i];
    const auto row = is_trained ? in_trained - trained.begin()
                                : std::ssize(trained) +
                                      (std::ranges::lower_bound(fixed, ids_[i]) - fixed.begin());
    place[static_cast<std::int64_t>(i)] = row;
    row_of_id_[ids_[i]] = static_cast<int>(i);
  }
  order_ = place;

  const at::Tensor embedding = weights_.embedding;
  weights_.for_each([&](const std::string&, at::Tensor& tensor) {
    if (!tensor.is_same(embedding) || &tensor == &weights_.lm_head) tensor = leaf(tensor);
  });
}

model::Transformer Trainee::model() const {
  const auto rows = at::cat({trained_rows_, fixed_rows_}).index_select(0, order_);
  return model::Transformer(config_, weights_, {ids_, rows, row_of_id_});
}

at::Tensor row_loss(const model::Transformer& model, std::span<const std::int32_t> tokens,
                    std::int64_t pads, std::int32_t pad_id) {
  const auto length = pads + std::ssize(tokens);
  auto ids = at::full({1, length}, pad_id, at::kLong);
  auto branches = at::zeros({1, length}, at::kLong);
  if (pads > 0) branches.narrow(1, 0, pads).fill_(-1);
  ids.narrow(1, pads, std::ssize(tokens))
      .copy_(index_of({tokens.begin(), tokens.end()}).unsqueeze(0));
  const auto hidden = model.hidden({ids, at::arange(length, at::kLong).unsqueeze(0), branches});
  const auto first = std::max<std::int64_t>(pads, 1);  // first target
  const auto predicting = hidden[0].narrow(0, first - 1, length - first);
  const auto targets = ids[0].narrow(0, first, length - first);
  return at::cross_entropy_loss(model.logits(predicting), targets, {}, at::Reduction::Sum);
}

}  // namespace quench::relearning
