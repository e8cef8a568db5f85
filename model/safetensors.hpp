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

// A tensor to be written.
struct NewTensor {
  std::string name, dtype;
  std::vector<std::int64_t> shape;
  std::int64_t bytes = 0;
  // Called once, with the file and the offset at which the tensor's bytes belong in it.
  std::function<void(File& file, std::int64_t offset)> write;
};
// The bytes of `content`, which must outlive it, under another name perhaps.
NewTensor copy_of(const std::string& name, const TensorEntry& content);

// Writes one file with these tensors, ordered as the reference implementation does (numbers of the
// widest type first, so that all are aligned; then by name), and flushes it to the disk. The
// metadata are `metadata` and "format": "pt", without which transformers refuses a file. Throws
// DataError.
void write_safetensors(const std::filesystem::path& path, std::vector<NewTensor> tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace quench::model
