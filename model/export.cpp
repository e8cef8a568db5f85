#include "model/export.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "cluster/error.hpp"
#include "cluster/posix.hpp"
#include "model/draft.hpp"
#include "model/files.hpp"
#include "model/memory.hpp"
#include "model/safetensors.hpp"

namespace quench::model {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr std::int64_t max_copied_bytes = std::int64_t{1} << 30;
constexpr const char* provenance_file = "quench.json";
constexpr const char* provenance_mark = "quench_export";  // its value: the version of the layout

constexpr std::array<std::string_view, 14> copied_files = {"tokenizer.json",
                                                           "tokenizer.model",
                                                           "tokenizer_config.json",
                                                           "special_tokens_map.json",
                                                           "added_tokens.json",
                                                           "vocab.json",
                                                           "merges.txt",
                                                           "chat_template.jinja",
                                                           "chat_template.json",
                                                           "generation_config.json",
                                                           "LICENSE",
                                                           "LICENSE.txt",
                                                           "NOTICE",
                                                           "USE_POLICY.md"};
constexpr const char* more_templates = "additional_chat_templates";

bool is_export(const fs::path& dir) {
  const auto file = dir / provenance_file;
  if (!fs::exists(file)) return false;
  try {
    return read_json_object(file, max_copied_bytes).contains(provenance_mark);
  } catch (const DataError&) {
    return false;
  }
}

// Absolute, and without a slash at its end, so that it has a name and a folder that holds it. (Of a
// relative path that is not there at all weakly_canonical makes no absolute one.)
fs::path whole_path(const fs::path& path) {
  const auto whole = fs::weakly_canonical(fs::absolute(path));
  return whole.has_filename() ? whole : whole.parent_path();
}

// What lies nearest to a path of the folders that are to hold it, and is there.
fs::path nearest_above(const fs::path& path) {
  auto above = path.parent_path();
  while (!fs::exists(above) && above.has_relative_path()) above = above.parent_path();
  return above;
}

fs::path check_target(const fs::path& source, const fs::path& wanted, bool overwrite) {
  const auto out = whole_path(wanted), from = whole_path(source);
  if (std::mismatch(out.begin(), out.end(), from.begin(), from.end()).first == out.end())
    throw DataError(out.string() +
                    ": is or holds the model that is exported; choose another folder");
  if (const auto above = nearest_above(out); !fs::is_directory(above))
    throw DataError(out.string() + ": " + above.string() + " is no folder");
  if (!fs::exists(out)) return out;
  if (!fs::is_directory(out)) throw DataError(out.string() + ": exists and is no folder");
  if (fs::is_empty(out)) return out;
  if (!is_export(out))
    throw DataError(out.string() +
                    ": exists, and is no export of this program; choose another folder");
  if (!overwrite)
    throw DataError(out.string() +
                    ": exists already; choose another folder, or ask to overwrite it");
  return out;
}

// Overwrites the edited rows in the embedding that starts at `offset`.
void write_rows(const RowOverlay& overlay, StoredType type, File& file, std::int64_t offset) {
  const auto row_bytes = overlay.rows.size(1) * size_of(type);
  for (std::int64_t i = 0; i < std::ssize(overlay.ids); ++i)
    file.write_at(offset + overlay.ids[i] * row_bytes, stored_row(overlay, i, type));
}

// The embedding with the edited rows in.
NewTensor edited_copy(const TensorEntry& embedding, const RowOverlay& overlay) {
  auto tensor = copy_of(embedding_name, embedding);
  tensor.write = [copy = std::move(tensor.write), &overlay, type = embedding.type](
                     File& file, std::int64_t offset) {
    copy(file, offset);
    write_rows(overlay, type, file, offset);
  };
  return tensor;
}

// All tensors of the export. A tied model's output head is the base's embedding, which the edit
// does not touch; a head that its files carry all the same was never in use.
std::vector<NewTensor> plan_tensors(const ModelConfig& config, const Checkpoint& checkpoint,
                                    const RowOverlay& overlay) {
  std::vector<NewTensor> tensors;
  for (const auto& [name, entry] : checkpoint.entries()) {
    if (name == lm_head_name && config.tied) continue;
    const bool edited = name == embedding_name && !overlay.empty();
    tensors.push_back(edited ? edited_copy(entry, overlay) : copy_of(name, entry));
  }
  if (config.tied) tensors.push_back(copy_of(lm_head_name, checkpoint.at(embedding_name)));
  return tensors;
}

std::int64_t bytes_of(const std::vector<NewTensor>& tensors) {
  std::int64_t sum = 0;
  for (const auto& tensor : tensors) sum += tensor.bytes;
  return sum;
}

std::vector<std::vector<NewTensor>> split(std::vector<NewTensor> tensors,
                                          std::int64_t shard_bytes) {
  std::vector<std::vector<NewTensor>> shards;
  std::int64_t filled = 0;
  for (auto& tensor : tensors) {
    const auto bytes = tensor.bytes;
    if (shards.empty() || (filled > 0 && filled + bytes > shard_bytes)) {
      shards.emplace_back();
      filled = 0;
    }
    filled += bytes;
    shards.back().push_back(std::move(tensor));
  }
  return shards;
}

std::string shard_name(std::size_t index, std::size_t count) {
  if (count == 1) return "model.safetensors";
  std::array<char, 64> name{};
  std::snprintf(name.data(), name.size(), "model-%05zu-of-%05zu.safetensors", index + 1, count);
  return name.data();
}

void write_weights(const fs::path& dir, std::vector<NewTensor> tensors, std::int64_t shard_bytes) {
  ordered_json index = {{"metadata", {{"total_size", bytes_of(tensors)}}},
                        {"weight_map", ordered_json::object()}};
  const auto shards = split(std::move(tensors), shard_bytes);
  for (std::size_t i = 0; i < shards.size(); ++i) {
    const auto name = shard_name(i, shards.size());
    for (const auto& tensor : shards[i]) index["weight_map"].push_back({tensor.name, name});
    write_safetensors(dir / name, shards[i]);
  }
  if (shards.size() > 1) write_text(dir / "model.safetensors.index.json", index.dump(2) + "\n");
}

// config.json as it was, but for what the export changes.
void write_config(const fs::path& source, const fs::path& dir) {
  auto config = ordered_json::parse(read_text(source / "config.json", max_copied_bytes));
  config["tie_word_embeddings"] = false;
  config.erase("quantization_config");
  write_text(dir / "config.json", config.dump(2) + "\n");
}

void copy_side_files(const fs::path& source, const fs::path& dir) {
  for (const auto name : copied_files)
    if (fs::exists(source / name))
      write_text(dir / name, read_text(source / name, max_copied_bytes));
  if (!fs::is_directory(source / more_templates)) return;
  fs::create_directory(dir / more_templates);
  for (const auto& entry : fs::directory_iterator(source / more_templates))
    if (entry.path().extension() == ".jinja")
      write_text(dir / more_templates / entry.path().filename(),
                 read_text(entry.path(), max_copied_bytes));
  cluster::sync_directory(dir / more_templates);
}

void write_provenance(const fs::path& dir, const std::string& provenance) {
  const auto parsed = ordered_json::parse(provenance, nullptr, false);
  if (!parsed.is_object()) throw InternalError("export_model: provenance is not a JSON object");
  ordered_json object = {{provenance_mark, 1}};
  object.update(parsed);
  write_text(dir / provenance_file, object.dump(2) + "\n");
}

void check_space(const fs::path& dir, std::int64_t needed) {
  const auto free = static_cast<std::int64_t>(
      std::min<std::uintmax_t>(fs::space(dir).available, std::uintmax_t{INT64_MAX}));
  if (free < needed)
    throw DataError(dir.string() + ": " + format_bytes(free) + " are free, the export needs " +
                    format_bytes(needed) + "; free some space there, or write elsewhere");
}

}  // namespace

fs::path check_export_target(const fs::path& source, const fs::path& wanted, bool overwrite) try {
  return check_target(source, wanted, overwrite);
} catch (const fs::filesystem_error& error) {
  throw DataError(std::string("The export cannot be written: ") + error.what());
}

void export_model(const fs::path& source, const ModelConfig& config, const Checkpoint& checkpoint,
                  const RowOverlay& overlay, const fs::path& out, const std::string& provenance,
                  bool overwrite, std::int64_t shard_bytes) try {
  check_tensors(config, checkpoint);
  check_overlay(config, overlay);
  const auto target = check_target(source, out, overwrite);
  fs::create_directories(target.parent_path());
  auto tensors = plan_tensors(config, checkpoint, overlay);
  check_space(target.parent_path(), bytes_of(tensors));

  Draft draft(target);
  write_weights(draft.path(), std::move(tensors), shard_bytes);
  write_config(source, draft.path());
  copy_side_files(source, draft.path());
  write_provenance(draft.path(), provenance);
  draft.publish();
} catch (const fs::filesystem_error& error) {
  throw DataError(std::string("The export failed: ") + error.what());
}

}  // namespace quench::model
