#include "model/patch.hpp"

#include <algorithm>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "cluster/error.hpp"
#include "cluster/hash.hpp"
#include "cluster/posix.hpp"
#include "model/files.hpp"
#include "model/safetensors.hpp"

namespace quench::model {
namespace {

namespace fs = std::filesystem;
using Bytes = std::vector<std::byte>;

constexpr const char* layout_version = "1";
constexpr const char* ids_name = "token_ids";
constexpr const char* rows_name = "rows";
constexpr std::int64_t block_bytes = std::int64_t{8} << 20;

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string hash_of(const TensorEntry& tensor) {
  const auto file = File::open_to_read(tensor.file);
  Bytes block(static_cast<std::size_t>(std::min(block_bytes, tensor.bytes)));
  cluster::Sha256 hash;
  for (std::int64_t done = 0; done < tensor.bytes; done += block_bytes) {
    const auto count = static_cast<std::size_t>(std::min(block_bytes, tensor.bytes - done));
    const auto part = std::span(block).first(count);
    file.read_at(tensor.offset + done, part);
    hash.update(text_of(part));
  }
  return hash.hex();
}

// The rows of these ids as the checkpoint has them, one after another.
Bytes stored_rows(const TensorEntry& embedding, const std::vector<std::int32_t>& ids) {
  const auto file = File::open_to_read(embedding.file);
  const auto row_bytes = embedding.shape.at(1) * size_of(embedding.type);
  Bytes rows(ids.size() * static_cast<std::size_t>(row_bytes));
  for (std::size_t i = 0; i < ids.size(); ++i)
    file.read_at(embedding.offset + ids[i] * row_bytes,
                 std::span(rows).subspan(i * static_cast<std::size_t>(row_bytes),
                                         static_cast<std::size_t>(row_bytes)));
  return rows;
}

Bytes new_rows(const RowOverlay& overlay, StoredType type) {
  Bytes rows;
  for (std::int64_t i = 0; i < std::ssize(overlay.ids); ++i) {
    const auto row = stored_row(overlay, i, type);
    rows.insert(rows.end(), row.begin(), row.end());
  }
  return rows;
}

// `bytes` must outlive it.
NewTensor tensor_of(const char* name, std::string_view dtype, std::vector<std::int64_t> shape,
                    std::span<const std::byte> bytes) {
  return {name, std::string(dtype), std::move(shape), std::ssize(bytes),
          [bytes](File& file, std::int64_t offset) { file.write_at(offset, bytes); }};
}

bool is_patch(const fs::path& file) {
  try {
    const auto tensors = read_safetensors_header(file);
    return tensors.size() == 2 && tensors.contains(ids_name) && tensors.contains(rows_name);
  } catch (const DataError&) {
    return false;
  }
}

void check_target(const fs::path& file, bool overwrite) {
  if (file.filename().empty() || fs::is_directory(file))
    throw DataError(file.string() + ": is a folder; name a file");
  if (!fs::exists(file)) return;
  if (!is_patch(file))
    throw DataError(file.string() +
                    ": exists, and is no patch of this program; choose another name");
  if (!overwrite)
    throw DataError(file.string() +
                    ": exists already; choose another name, or ask to overwrite it");
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  return "[" + std::to_string(shape.at(0)) + ", " + std::to_string(shape.at(1)) + "]";
}

// Writes PATH.partial and renames it.
void publish(const fs::path& file, std::vector<NewTensor> tensors,
             const std::map<std::string, std::string>& metadata) {
  const fs::path partial = file.string() + ".partial";
  try {
    fs::remove(partial);  // of an export that was killed
    write_safetensors(partial, std::move(tensors), metadata);
    fs::rename(partial, file);
  } catch (...) {
    std::error_code ignored;
    fs::remove(partial, ignored);
    throw;
  }
  cluster::sync_directory(file.parent_path());
}

}  // namespace

void write_patch(const ModelConfig& config, const Checkpoint& checkpoint, const RowOverlay& overlay,
                 const fs::path& file, const std::map<std::string, std::string>& about,
                 bool overwrite) try {
  check_tensors(config, checkpoint);
  check_overlay(config, overlay);
  const auto target = fs::absolute(file);
  check_target(target, overwrite);
  fs::create_directories(target.parent_path());
  const auto& embedding = checkpoint.at(embedding_name);
  const auto count = std::ssize(overlay.ids);
  const std::vector<std::int64_t> ids(overlay.ids.begin(), overlay.ids.end());
  const auto rows = new_rows(overlay, embedding.type);

  auto metadata = about;
  metadata["quench_patch"] = layout_version;
  metadata["tensor"] = embedding_name;
  metadata["shape"] = shape_text(embedding.shape);
  metadata["lm_head"] = config.tied ? "untie" : "keep";
  metadata["embedding_sha256"] = hash_of(embedding);
  metadata["before_sha256"] = cluster::sha256(text_of(stored_rows(embedding, overlay.ids)));
  metadata["rows_sha256"] = cluster::sha256(text_of(rows));
  publish(target,
          {tensor_of(ids_name, "I64", {count}, std::as_bytes(std::span(ids))),
           tensor_of(rows_name, embedding.dtype, {count, config.width}, rows)},
          metadata);
} catch (const fs::filesystem_error& error) {
  throw DataError(std::string("The patch could not be written: ") + error.what());
}

}  // namespace quench::model
