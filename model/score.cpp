#include "model/score.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

#include "cluster/error.hpp"
#include "model/prefix.hpp"
#include "model/transformer.hpp"

namespace quench::model {
namespace {

// Logits held at once: 16 MiB stay in a cache, whatever the vocabulary.
constexpr std::int64_t logit_budget = std::int64_t{4} << 20;

using Hits = std::vector<char>;  // a token of a continuation each: it is the likeliest

// A token to be predicted from a place of a row.
struct Prediction {
  std::int64_t place = 0;  // in the row; later among the hidden states that are needed
  std::int64_t token = 0;
  ContinuationScore* score = nullptr;
  char* hit = nullptr;  // null: not asked for
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

// A lone continuation goes on with the trunk: a plain row needs no mask. The first `skipped` tokens
// of the context stand in a cache. `hits`: empty, or a list a continuation.
Row lay_out(const ScoreItem& item, std::int64_t skipped, std::vector<ContinuationScore>& scores,
            std::vector<Hits>& hits) {
  Row row;
  const auto trunk = std::ssize(item.context);
  for (auto i = skipped; i < trunk; ++i)
    row.append(item.context[static_cast<std::size_t>(i)], i, 0);
  const std::int64_t last = row.length() - 1;
  std::int64_t branch = item.continuations.size() > 1 ? 1 : 0;
  for (std::size_t k = 0; k < scores.size(); ++k, ++branch) {
    const auto& tokens = item.continuations[k];
    scores[k].tokens = std::ssize(tokens);
    if (!hits.empty()) hits[k].resize(tokens.size());
    for (std::size_t j = 0; j < tokens.size(); ++j) {
      if (j > 0) row.append(tokens[j - 1], trunk + static_cast<std::int64_t>(j) - 1, branch);
      row.predictions.push_back({j == 0 ? last : row.length() - 1, tokens[j], &scores[k],
                                 hits.empty() ? nullptr : &hits[k][j]});
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

// Adds each prediction's log-probability to its score, and tells hits. The vocabulary is walked in
// slices: logits [hidden states, slice] in the model's type, their sums in float64.
void add_logprobs(const Transformer& model, const at::Tensor& hidden,
                  std::span<const Prediction> predictions) {
  const std::int64_t vocab = model.config().vocab;
  const std::int64_t step = std::max<std::int64_t>(1, logit_budget / hidden.size(0));
  at::Tensor total = at::full({hidden.size(0)}, -std::numeric_limits<double>::infinity(),
                              hidden.options().dtype(at::kDouble));
  at::Tensor best = total;
  const bool tells_hits = predictions.front().hit != nullptr;
  std::vector<at::Tensor> chosen;
  auto next = predictions.begin();
  for (std::int64_t first = 0; first < vocab; first += step) {
    const std::int64_t count = std::min(step, vocab - first);
    const at::Tensor logits = model.logits(hidden, first, count);
    total = at::logaddexp(total, at::logsumexp(logits, 1).to(at::kDouble));
    if (tells_hits) best = at::maximum(best, logits.amax(1).to(at::kDouble));
    std::vector<std::int64_t> wanted;
    for (; next != predictions.end() && next->token < first + count; ++next)
      wanted.push_back(next->place * count + next->token - first);
    chosen.push_back(logits.flatten().index_select(0, indices(wanted, hidden.device())));
  }
  const at::Tensor logit = at::cat(chosen).to(at::kCPU, at::kDouble);
  const at::Tensor normaliser = total.cpu(), highest = best.cpu();
  for (std::size_t i = 0; i < predictions.size(); ++i) {
    const double value = logit.const_data_ptr<double>()[i];
    const auto& p = predictions[i];
    p.score->logprob += value - normaliser.const_data_ptr<double>()[p.place];
    if (tells_hits) *p.hit = value >= highest.const_data_ptr<double>()[p.place] ? 1 : 0;
  }
}

// `head`: what all rows go on from, one row; empty: nothing.
void score_batch(const Transformer& model, std::span<const Row* const> rows, const KvCache& head) {
  const std::int64_t length = rows.front()->length();  // the longest first
  std::vector<std::int64_t> needed;
  const auto predictions = gather_predictions(rows, length, needed);
  KvCache cache = head;
  if (head.length() > 0) cache.select_rows(at::zeros({std::ssize(rows)}, at::kLong));
  const at::Tensor hidden =
      model.hidden(pad_behind(rows, length), head.length() > 0 ? &cache : nullptr).flatten(0, 1);
  add_logprobs(model, hidden.index_select(0, indices(needed, hidden.device())), predictions);
}

// Keys and values of a common beginning, as one row.
KvCache read_head(const Transformer& model, std::span<const std::int32_t> tokens) {
  KvCache cache;
  if (tokens.empty()) return cache;
  Row row;
  for (const auto id : tokens) row.append(id, row.length(), 0);
  const Row* const rows[] = {&row};
  model.hidden(pad_behind(rows, row.length()), &cache);
  return cache;
}

// Rows in batches of about one length. What stands in the head is memory, not work: it counts an
// eighth.
void score_rows(const Transformer& model, std::vector<const Row*> rows, const KvCache& head,
                std::int64_t max_tokens) {
  std::ranges::stable_sort(rows, std::ranges::greater{}, &Row::length);
  for (std::size_t begin = 0; begin < rows.size();) {
    const std::int64_t weight = rows[begin]->length() + head.length() / 8;
    const auto fitting = static_cast<std::size_t>(std::max<std::int64_t>(1, max_tokens / weight));
    const std::size_t count = std::min(fitting, rows.size() - begin);
    score_batch(model, std::span(rows).subspan(begin, count), head);
    begin += count;
  }
}

void check(const ScoreItem& item) {
  if (item.context.empty()) throw InternalError("score: an item without a context");
  for (const auto& tokens : item.continuations)
    if (tokens.empty()) throw InternalError("score: an empty continuation");
}

void count_hits(const Hits& hits, ContinuationScore& score) {
  score.first_choices = std::ranges::count(hits, 1);
  score.ending = std::find(hits.rbegin(), hits.rend(), 0) - hits.rbegin();
}

}  // namespace

std::vector<std::vector<ContinuationScore>> score(const Transformer& model,
                                                  std::span<const ScoreItem> items,
                                                  const BatchOptions& options) {
  const c10::InferenceMode guard;
  std::vector<std::vector<ContinuationScore>> result(items.size());
  std::vector<std::vector<Hits>> hits(items.size());
  std::vector<const std::vector<std::int32_t>*> contexts;
  for (std::size_t i = 0; i < items.size(); ++i) {
    check(items[i]);
    result[i].resize(items[i].continuations.size());
    if (options.first_choices) hits[i].resize(result[i].size());
    contexts.push_back(&items[i].context);
  }
  for (const auto& group : prefix_groups(contexts, options.least_prefix)) {
    std::vector<Row> rows;
    for (const auto i : group.members)
      if (!result[i].empty()) rows.push_back(lay_out(items[i], group.length, result[i], hits[i]));
    if (rows.empty()) continue;
    std::vector<const Row*> order;
    for (const Row& row : rows) order.push_back(&row);
    const auto& first = *contexts[group.members.front()];
    const auto head =
        read_head(model, std::span(first).first(static_cast<std::size_t>(group.length)));
    score_rows(model, std::move(order), head, options.max_tokens);
  }
  for (std::size_t i = 0; i < hits.size(); ++i)
    for (std::size_t k = 0; k < hits[i].size(); ++k) count_hits(hits[i][k], result[i][k]);
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
