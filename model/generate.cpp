#include "model/generate.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

#include "cluster/error.hpp"
#include "model/transformer.hpp"

namespace quench::model {
namespace {

using Tokens = std::vector<std::int32_t>;

constexpr double cache_budget = 512.0 * (1 << 20);  // bytes of keys and values
constexpr std::int64_t always_fit = 16;             // prompts

// A prompt on its way to an answer.
struct Request {
  const Tokens* prompt = nullptr;
  Tokens* answer = nullptr;
  std::int64_t limit = 0;  // new tokens
};

// Prompts padded in front, so that every row's next token stands in the same column.
Batch pad_in_front(std::span<const Request> requests, std::int64_t length) {
  const std::int64_t count = std::ssize(requests);
  Batch batch{at::zeros({count, length}, at::kLong), at::zeros({count, length}, at::kLong),
              at::full({count, length}, -1, at::kLong)};
  for (std::int64_t i = 0; i < count; ++i) {
    const Tokens& prompt = *requests[static_cast<std::size_t>(i)].prompt;
    const std::int64_t end = (i + 1) * length, begin = end - std::ssize(prompt);
    std::ranges::copy(prompt, batch.ids.mutable_data_ptr<std::int64_t>() + begin);
    std::int64_t* positions = batch.positions.mutable_data_ptr<std::int64_t>();
    std::iota(positions + begin, positions + end, 0);
    std::int64_t* branches = batch.branches.mutable_data_ptr<std::int64_t>();
    std::fill(branches + begin, branches + end, 0);
  }
  return batch;
}

// Appends each row's token to its answer; returns the rows that go on.
std::vector<std::int64_t> accept(std::span<const Request> requests, const at::Tensor& tokens,
                                 const GenerateOptions& options) {
  std::vector<std::int64_t> open;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const auto token = static_cast<std::int32_t>(tokens.const_data_ptr<std::int64_t>()[i]);
    const bool stop = std::ranges::find(options.stop_ids, token) != options.stop_ids.end();
    if (!stop || options.keep_stop) requests[i].answer->push_back(token);
    if (stop) continue;
    if (std::ssize(*requests[i].answer) < requests[i].limit)
      open.push_back(static_cast<std::int64_t>(i));
  }
  return open;
}

// Prompts that stand side by side from the first of these on, the longest: every step reads all
// weights, so the more the better.
std::size_t batch_width(const Transformer& model, std::span<const Request> requests,
                        std::int64_t most) {
  const auto& config = model.config();
  std::int64_t limit = 0;
  for (const auto& request : requests.first(std::min<std::size_t>(
           requests.size(), static_cast<std::size_t>(std::max<std::int64_t>(1, most)))))
    limit = std::max(limit, request.limit);
  const auto tokens = static_cast<double>(std::ssize(*requests.front().prompt) + limit);
  const double row =
      8.0 * static_cast<double>(config.layers * config.kv_heads * config.head_dim) * tokens;
  const auto fitting = std::max(always_fit, static_cast<std::int64_t>(cache_budget / row));
  const auto width = std::clamp<std::int64_t>(most, 1, fitting);
  return std::min(requests.size(), static_cast<std::size_t>(width));
}

void answer_batch(const Transformer& model, std::vector<Request> requests,
                  const GenerateOptions& options) {
  Batch batch = pad_in_front(requests, std::ssize(*requests.front().prompt));  // the longest first
  KvCache cache;
  while (true) {
    const at::Tensor last = model.hidden(batch, &cache).select(1, -1);
    at::Tensor tokens = model.logits(last).argmax(-1).cpu();
    const std::vector<std::int64_t> open = accept(requests, tokens, options);
    if (open.empty()) return;
    at::Tensor positions = batch.positions.narrow(1, batch.positions.size(1) - 1, 1) + 1;
    if (open.size() < requests.size()) {
      const at::Tensor rows = at::tensor(open, at::kLong);
      cache.select_rows(rows);
      tokens = tokens.index_select(0, rows);
      positions = positions.index_select(0, rows);
      for (std::size_t i = 0; i < open.size(); ++i)
        requests[i] = requests[static_cast<std::size_t>(open[i])];
      requests.resize(open.size());
    }
    batch = {tokens.unsqueeze(1), positions, at::zeros_like(positions)};
  }
}

}  // namespace

std::vector<Tokens> generate_greedy(const Transformer& model, std::span<const Tokens> prompts,
                                    const GenerateOptions& options,
                                    std::span<const std::int64_t> max_new_tokens) {
  if (!max_new_tokens.empty() && max_new_tokens.size() != prompts.size())
    throw InternalError("generate: as many limits as prompts are needed");
  const c10::InferenceMode guard;
  std::vector<Tokens> answers(prompts.size());
  std::vector<Request> requests;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    if (prompts[i].empty()) throw InternalError("generate: an empty prompt");
    const auto limit = max_new_tokens.empty() ? options.max_new_tokens : max_new_tokens[i];
    if (limit > 0) requests.push_back({&prompts[i], &answers[i], limit});
  }
  std::ranges::stable_sort(requests, std::ranges::greater{},
                           [](const Request& request) { return request.prompt->size(); });
  for (std::span<const Request> left(requests); !left.empty();) {
    const auto width = batch_width(model, left, options.batch);
    answer_batch(model, {left.begin(), left.begin() + static_cast<std::ptrdiff_t>(width)}, options);
    left = left.subspan(width);
  }
  return answers;
}

}  // namespace quench::model
