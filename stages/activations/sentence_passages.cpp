#include "stages/activations/sentence_passages.hpp"

#include <algorithm>

namespace quench::activations {

namespace {

bool is_column(std::int32_t token, const Tokens& prefix) {
  return std::ranges::find(prefix, token) == prefix.end();
}

at::Tensor indices(const std::vector<std::int64_t>& values) {
  return at::tensor(values, at::kLong);
}

}  // namespace

std::int64_t positions_of(const Tokens& sentence, const Tokens& prefix) {
  return std::ranges::count_if(sentence, [&](auto token) { return is_column(token, prefix); });
}

// A sentence behind its prefix; the columns of its tokens, -1 for those that have none.
struct SentencePassages::Row {
  std::vector<std::int64_t> ids, columns;

  std::int64_t length() const { return std::ssize(ids); }
};

SentencePassages::SentencePassages(const model::Transformer& model,
                                   std::span<const Tokens> sentences, const Tokens& prefix,
                                   std::int64_t batch_tokens)
    : model_(model) {
  const c10::InferenceMode guard;
  std::vector<Row> rows;
  for (const auto& sentence : sentences) {
    if (positions_of(sentence, prefix) == 0) continue;
    Row row;
    row.ids.assign(prefix.begin(), prefix.end());
    row.columns.assign(prefix.size(), -1);
    for (const auto token : sentence) {
      row.ids.push_back(token);
      row.columns.push_back(is_column(token, prefix) ? positions_++ : -1);
    }
    rows.push_back(std::move(row));
  }
  std::vector<const Row*> order;
  for (const auto& row : rows) order.push_back(&row);
  std::ranges::stable_sort(order, std::ranges::greater{}, &Row::length);
  for (std::size_t begin = 0; begin < order.size();) {
    const auto fitting = std::max<std::int64_t>(1, batch_tokens / order[begin]->length());
    const auto count = std::min(static_cast<std::size_t>(fitting), order.size() - begin);
    parts_.push_back(make_part(std::span(order).subspan(begin, count)));
    begin += count;
  }
}

// Rows padded behind, the longest first. No token that counts comes after the padding, so it may
// pass for trunk tokens and the batch stays plainly causal.
SentencePassages::Part SentencePassages::make_part(std::span<const Row* const> rows) const {
  const auto count = std::ssize(rows), length = rows.front()->length();
  const auto ids = at::zeros({count, length}, at::kLong);
  Part part;
  for (std::int64_t i = 0; i < count; ++i) {
    const Row& row = *rows[static_cast<std::size_t>(i)];
    std::ranges::copy(row.ids, ids.mutable_data_ptr<std::int64_t>() + i * length);
    for (std::int64_t place = 0; place < row.length(); ++place) {
      if (row.columns[place] < 0) continue;
      part.places.push_back(i * length + place);
      part.columns.push_back(row.columns[place]);
    }
  }
  part.passage = model_.enter(
      {ids, at::arange(length, at::kLong).expand({count, length}), at::zeros_like(ids)});
  return part;
}

at::Tensor SentencePassages::at_layer(std::int64_t layer) {
  const c10::InferenceMode guard;
  auto activations = at::empty({model_.config().mlp_width, positions_}, at::kFloat);
  for (auto& part : parts_) {
    const auto all = model_.mlp_activations(part.passage, layer).flatten(0, 1);
    const auto wanted = all.index_select(0, indices(part.places).to(all.device()));
    activations.index_copy_(1, indices(part.columns), wanted.to(at::kCPU, at::kFloat).t());
  }
  next_layer_ = layer + 1;
  return activations;
}

}  // namespace quench::activations
