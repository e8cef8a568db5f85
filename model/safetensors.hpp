#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "model/checkpoint.hpp"
#include "model/files.hpp"

// The file format: 8 bytes header length (little-endian), a JSON header {name: {"dtype", "shape",
// "data_offsets": [begin, end]}}, the data. https://github.com/huggingface/safetensors#format
namespace quench::model {

// Reads and checks a file's header. Throws DataError, see Checkpoint::open.
std::map<std::string, TensorEntry> read_safetensors_header(const std::filesystem::path& path);

// A tensor to be written: the bytes of `content`, under another name perhaps, and what is to be
// changed in them.
struct TensorCopy {
  std::string name;
  const TensorEntry* content = nullptr;
  // Empty, or called with the file and the offset of the tensor's data in it, after they are
  // copied.
  std::function<void(File& file, std::int64_t offset)> patch;
};

// Writes one file with these tensors, ordered as the reference implementation does (numbers of the
// widest type first, so that all are aligned; then by name), and flushes it to the disk. Throws
// DataError.
void write_safetensors(const std::filesystem::path& path, std::vector<TensorCopy> tensors);

}  // namespace quench::model
