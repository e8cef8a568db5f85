#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "model/checkpoint.hpp"
#include "model/config.hpp"
#include "model/weights.hpp"

namespace quench::model {

inline constexpr std::int64_t default_shard_bytes = 5'000'000'000;  // as transformers

// The absolute path that an export to `wanted` is written to. Throws DataError when it cannot be:
// the model's own folder or one that holds it, a file, a folder of something else, or an export
// that is not to be overwritten.
std::filesystem::path check_export_target(const std::filesystem::path& source,
                                          const std::filesystem::path& wanted, bool overwrite);

// Writes a Hugging Face directory: the source's tensors bit for bit, except the embedding rows of
// `overlay`; lm_head.weight is explicit and tie_word_embeddings false; tokenizer, template,
// generation and licence files are copied; a quench.json says what was erased (`provenance`, the
// text of a JSON object, beside the key "quench_export"). One file, or shards of at most
// `shard_bytes` (a larger tensor has one of its own). Local; streams tensors, never the whole model
// in memory. Written beside and renamed: `out` is whole or not there; what killed exports to
// `out` left beside it is removed. Throws DataError when out
// exists and is not empty (unless it is an export of ours with `overwrite`), when the checkpoint
// does not fit the configuration, or on a full disk.
void export_model(const std::filesystem::path& source, const ModelConfig& config,
                  const Checkpoint& checkpoint, const RowOverlay& overlay,
                  const std::filesystem::path& out, const std::string& provenance,
                  bool overwrite = false, std::int64_t shard_bytes = default_shard_bytes);

}  // namespace quench::model
