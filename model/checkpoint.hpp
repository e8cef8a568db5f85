#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "model/config.hpp"
#include "model/stored_type.hpp"

namespace quench::model {

// Where a tensor lies in a safetensors file.
struct TensorEntry {
  std::string dtype;                  // as the file says: "BF16", "I64"
  StoredType type = StoredType::f32;  // of a tensor that is readable
  bool readable = true;               // false: a dtype that can be carried along but not read
  std::vector<std::int64_t> shape;
  std::filesystem::path file;
  std::int64_t offset = 0;  // bytes from the start of the file
  std::int64_t bytes = 0;
  std::int64_t count() const;
};

// The index of a model directory's weights: model.safetensors, or model.safetensors.index.json and
// its shards. Only headers are read, in memory proportional to them.
class Checkpoint {
 public:
  // Throws DataError naming the file and the field: header length beyond the file, not JSON,
  // a key twice, unknown dtype, shape product overflow, offsets outside the data, overlapping,
  // leaving a hole or not matching dtype x shape (the format demands all of it), a tensor in two
  // shards, a missing shard, a shard outside the directory.
  static Checkpoint open(const std::filesystem::path& dir);

  const std::filesystem::path& directory() const { return dir_; }
  const std::map<std::string, TensorEntry>& entries() const { return entries_; }
  bool contains(const std::string& name) const { return entries_.contains(name); }
  // Throws DataError when it is not there.
  const TensorEntry& at(const std::string& name) const;
  // Reads a whole tensor as float32, in large plain reads. Throws DataError (short read, a dtype
  // that is not readable; non-finite numbers are kept).
  void read(const std::string& name, std::span<float> out) const;
  // Reads the out.size() numbers from number `first` on; may be called from several threads.
  void read_part(const std::string& name, std::int64_t first, std::span<float> out) const;

 private:
  std::map<std::string, TensorEntry> entries_;
  std::filesystem::path dir_;
};

inline constexpr const char* embedding_name = "model.embed_tokens.weight";
inline constexpr const char* lm_head_name = "lm_head.weight";

// The names and shapes of the tensors that a model of this configuration has. `tied`:
// lm_head.weight is not among them.
std::map<std::string, std::vector<std::int64_t>> expected_tensors(const ModelConfig& config);

// Sets in the configuration what the files tell better, as transformers takes it: the type that
// the embedding is stored in; and that the output head is one of its own, where a model that
// config.json calls tied has another head than its embedding (both are read then). Throws DataError
// where they cannot be read.
void settle(ModelConfig& config, const Checkpoint& checkpoint);

// Checks every tensor of the configuration against the checkpoint; throws one DataError with all
// that is missing, not readable or of a wrong shape. Tensors beyond these do not matter.
void check_tensors(const ModelConfig& config, const Checkpoint& checkpoint);

// Tensors that the configuration has no use for, which may well mean that it is another model's:
// layers beyond its last. In the order of their names, without those that are known to do no harm.
std::vector<std::string> unused_tensors(const ModelConfig& config, const Checkpoint& checkpoint);

}  // namespace quench::model
