#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "model/checkpoint.hpp"
#include "model/config.hpp"
#include "model/weights.hpp"

namespace quench::model {

// Writes the edits alone, as a safetensors file (docs/file-formats.md, "A patch"): token ids and
// their new rows, bit for bit those of export_model(), with hashes of what they replace and
// `about`, texts by key, as metadata. New rows and not what is to be subtracted: an edited row is
// rounded once, from float32 to the checkpoint's type; a subtraction done elsewhere in bfloat16
// rounds in its own way. Local; reads the embedding once, in blocks. Written beside and renamed.
// Throws DataError when `file` exists (unless it is a patch, with `overwrite`), when the checkpoint
// does not fit the configuration, or on a full disk.
void write_patch(const ModelConfig& config, const Checkpoint& checkpoint, const RowOverlay& overlay,
                 const std::filesystem::path& file, const std::map<std::string, std::string>& about,
                 bool overwrite = false);

}  // namespace quench::model
