#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace quench::model {

class Transformer;

struct GenerateOptions {
  std::int64_t max_new_tokens = 64;
  std::vector<std::int32_t> stop_ids;  // the answer ends before the first of these
  bool keep_stop = false;              // let the stop token be the answer's last one
  std::int64_t batch = 64;             // most prompts side by side
};

// Greedy answers, one a prompt in the prompts' order, without the stop token unless keep_stop.
// Batches are left-padded and masked: each row gives what it gives alone. KV-cached; finished rows
// leave the batch. More than 16 prompts stand side by side only while their keys and values fit
// into 512 MiB. max_new_tokens may differ a prompt (empty: options' for all). Local.
std::vector<std::vector<std::int32_t>> generate_greedy(
    const Transformer& model, std::span<const std::vector<std::int32_t>> prompts,
    const GenerateOptions& options, std::span<const std::int64_t> max_new_tokens = {});

}  // namespace quench::model
