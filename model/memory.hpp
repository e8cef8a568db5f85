#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "model/config.hpp"

namespace quench::model {

// Bytes that a run needs on one node, before anything is loaded.
struct MemoryEstimate {
  std::int64_t weights = 0;        // one float32 copy a node
  std::int64_t activations = 0;    // of one rank: batches, logits
  std::int64_t training = 0;       // of one rank: trained copy, gradients, optimizer moments, kept
                                   // activations; 0 without attacks
  std::int64_t factorisation = 0;  // of one rank
  std::int64_t gathered = 0;       // of the one rank that holds all of a joint dictionary's G
  // The weights once, and for each rank the largest of its needs (stages follow one another) beside
  // what the program itself takes; one of them has gathered.
  std::int64_t total(int ranks_on_node) const;
};

// batch_tokens: tokens of a forward batch; train_tokens: of a training step (0: no training).
// Upper bounds, computed from the configuration alone; factorisation is left 0.
MemoryEstimate estimate_memory(const ModelConfig& config, std::int64_t batch_tokens,
                               std::int64_t train_tokens);

// Bytes that the forward pass of one row of so many tokens takes: unlike a batch of short rows, a
// long one has a mask of tokens x tokens where layers have a window, and under a soft cap all
// scores of a layer at once.
std::int64_t long_row_bytes(const ModelConfig& config, std::int64_t tokens);

// What this process may still use: the lesser of the node's available memory and the cgroup limits
// (v1, v2), its reclaimable file cache counted as free. `root`: where /proc and /sys are looked
// for. The largest int64 when nothing can be found out.
std::int64_t available_memory(const std::filesystem::path& root = "/");

// Throws ConfigError with both numbers and the remedies when the estimate exceeds what is available
// on the node.
void check_memory(const MemoryEstimate& estimate, int ranks_on_node, std::int64_t available);

std::string format_bytes(std::int64_t bytes);  // "4.1 GiB"

}  // namespace quench::model
