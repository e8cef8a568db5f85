#include "model/score.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

#include "cluster/error.hpp"
#include "model/transformer.hpp"

namespace quench::model {
namespace {

// Logits held at once: 16 MiB stay in a cache, whatever the vocabulary.
constexpr std::int64_t logit_budget = std::int64_t{4} << 20;

// A token to be predicted from a place of a row.
struct Prediction {
  std::int64_t place = 0;  // in the row; later among the hidden states that are needed
  std::int64_t token = 0;
  ContinuationScore* score = nullptr;
};

// An item as one token row: the context, then each continuation but its last token as a branch.
struct Row {
  std::vector<std::int64_t> ids, positions, branches;
  std::vector<Prediction> predictions;

  std::int64_t length() const { return std::ssize(ids); }
  void append(std::int64_t id, std::int64_t position, std::int64_t branch) {
    ids.push_back(id);
    positions.push_back(position);
    branches.push_back(branch);
  }
};

// A lone continuation goes on with the trunk: a plain row needs no mask.
Row lay_out(const ScoreItem& item, std::vector<ContinuationScore>& scores) {
  if (item.context.empty()) throw InternalError("score: an item without a context");
  Row row;
  for (const std::int32_t id : item.context) row.append(id, row.length(), 0);
  const std::int64_t trunk = row.length();
  std::int64_t branch = item.continuations.size() > 1 ? 1 : 0;
  scores.resize(item.continuations.size());
  for (std::size_t k = 0; k < scores.size(); ++k, ++branch) {
    const auto& tokens = item.continuations[k];
    if (tokens.empty()) throw InternalError("score: an empty continuation");
    scores[k].tokens = std::ssize(tokens);
    row.predictions.push_back({trunk - 1, tokens[0], &scores[k]});
    for (std::size_t j = 1; j < tokens.size(); ++j) {
      row.append(tokens[j - 1], trunk + static_cast<std::int64_t>(j) - 1, branch);
      row.predictions.push_back({row.length() - 1, tokens[j], &scores[k]});
    }
  }
  return row;
}

at::Tensor indices(const std::vector<std::int64_t>& values, at::Device device) {
  return at::tensor(values, at::kLong).to(device);
}

// Rows padded behind. No token that counts comes after the padding, so it may pass for trunk tokens
// and a batch of plain rows stays plainly causal.
Batch pad_behind(std::span<const Row* const> rows, std::int64_t length) {
  const std::int64_t count = std::ssize(rows);
  const auto fill = [&](std::vector<std::int64_t> Row::*member) {
    at::Tensor filled = at::zeros({count, length}, at::kLong);
    for (std::int64_t i = 0; i < count; ++i)
      std::ranges::copy(rows[static_cast<std::size_t>(i)]->*member,
                        filled.mutable_data_ptr<std::int64_t>() + i * length);
    return filled;
  };
  return {fill(&Row::ids), fill(&Row::positions), fill(&Row::branches)};
}

// The batch's predictions by token; their places become indices into `needed`, the distinct places
// [row * length + place] whose hidden states predict something.
std::vector<Prediction> gather_predictions(std::span<const Row* const> rows, std::int64_t length,
                                           std::vector<std::int64_t>& needed) {
  std::vector<std::int64_t> index(rows.size() * static_cast<std::size_t>(length), -1);
  std::vector<Prediction> predictions;
  for (std::size_t i = 0; i < rows.size(); ++i)
    for (Prediction prediction : rows[i]->predictions) {
      const std::int64_t place = static_cast<std::int64_t>(i) * length + prediction.place;
      std::int64_t& slot = index[static_cast<std::size_t>(place)];
      if (slot < 0) {
        slot = std::ssize(needed);
        needed.push_back(place);
      }
      prediction.place = slot;
      predictions.push_back(prediction);
    }
  std::ranges::sort(predictions, {}, &Prediction::token);
  return predictions;
}

// Adds each prediction's log-probability to its score. The vocabulary is walked in slices: logits
// [hidden states, slice] in the model's type, their sums in float64.
void add_logprobs(const Transformer& model, const at::Tensor& hidden,
                  std::span<const Prediction> predictions) {
  const std::int64_t vocab = model.config().vocab;
  const std::int64_t step = std::max<std::int64_t>(1, logit_budget / hidden.size(0));
  at::Tensor total = at::full({hidden.size(0)}, -std::numeric_limits<double>::infinity(),
                              hidden.options().dtype(at::kDouble));
  std::vector<at::Tensor> chosen;
  auto next = predictions.begin();
  for (std::int64_t first = 0; first < vocab; first += step) {
    const std::int64_t count = std::min(step, vocab - first);
    const at::Tensor logits = model.logits(hidden, first, count);
    total = at::logaddexp(total, at::logsumexp(logits, 1).to(at::kDouble));
    std::vector<std::int64_t> wanted;
    for (; next != predictions.end() && next->token < first + count; ++next)
      wanted.push_back(next->place * count + next->token - first);
    chosen.push_back(logits.flatten().index_select(0, indices(wanted, hidden.device())));
  }
  const at::Tensor logit = at::cat(chosen).to(at::kCPU, at::kDouble);
  const at::Tensor normaliser = total.cpu();
  for (std::size_t i = 0; i < predictions.size(); ++i)
    predictions[i].score->logprob += logit.const_data_ptr<double>()[i] -
                                     normaliser.const_data_ptr<double>()[predictions[i].place];
}

void score_batch(const Transformer& model, std::span<const Row* const> rows) {
  const std::int64_t length = rows.front()->length();  // the longest first
  std::vector<std::int64_t> needed;
  const auto predictions = gather_predictions(rows, length, needed);
  const at::Tensor hidden = model.hidden(pad_behind(rows, length)).flatten(0, 1);
  add_logprobs(model, hidden.index_select(0, indices(needed, hidden.device())), predictions);
}

}  // namespace

std::vector<std::vector<ContinuationScore>> score(const Transformer& model,
                                                  std::span<const ScoreItem> items,
                                                  const BatchOptions& options) {
  const c10::InferenceMode guard;
  std::vector<std::vector<ContinuationScore>> result(items.size());
  std::vector<Row> rows;
  for (std::size_t i = 0; i < items.size(); ++i) {
    Row row = lay_out(items[i], result[i]);
    if (!row.predictions.empty()) rows.push_back(std::move(row));
  }
  std::vector<const Row*> order;
  for (const Row& row : rows) order.push_back(&row);
  std::ranges::stable_sort(order, std::ranges::greater{}, &Row::length);
  for (std::size_t begin = 0; begin < order.size();) {
    const auto fitting = static_cast<std::size_t>(
        std::max<std::int64_t>(1, options.max_tokens / order[begin]->length()));
    const std::size_t count = std::min(fitting, order.size() - begin);
    score_batch(model, std::span(order).subspan(begin, count));
    begin += count;
  }
  return result;
}

bool reads_edited_row(const Transformer& model, const ScoreItem& item) {
  const auto edited = [&](std::int32_t id) { return model.overlay().edits(id); };
  return std::ranges::any_of(item.context, edited) ||
         std::ranges::any_of(item.continuations, [&](const std::vector<std::int32_t>& tokens) {
           return !tokens.empty() && std::any_of(tokens.begin(), tokens.end() - 1, edited);
         });
}

ScoreItem text_item(std::span<const std::int32_t> tokens) {
  if (tokens.size() < 2) throw InternalError("score: a text needs at least two tokens");
  return {{tokens.front()}, {{tokens.begin() + 1, tokens.end()}}};
}

}  // namespace quench::model
