#include "model/safetensors.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>
#include <utility>

#include "cluster/error.hpp"
#include "model/files.hpp"

namespace quench::model {
namespace {

using nlohmann::json;

constexpr std::int64_t max_header_bytes = 100'000'000;  // as the reference implementation
constexpr std::int64_t length_bytes = 8;
constexpr int max_rank = 64;
constexpr std::size_t max_keys = 10'000;  // of one tensor, or of the metadata

constexpr std::int64_t copy_block_bytes = std::int64_t{8} << 20;

struct DType {
  std::string_view name;
  std::int64_t bits;
};
constexpr std::array<DType, 20> dtypes = {{
    {"BOOL", 8}, {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"U8", 8},
    {"I8", 8},   {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"I16", 16},
    {"U16", 16}, {"F16", 16},    {"BF16", 16},   {"I32", 32},    {"U32", 32},
    {"F32", 32}, {"F64", 64},    {"I64", 64},    {"U64", 64},    {"C64", 64},
}};

std::int64_t whole_number(const json& value, const std::string& place) {
  if (!value.is_number_integer())
    throw DataError(place + " is " + value.dump() + ", not a whole number");
  if (value.is_number_unsigned() ? value.get<std::uint64_t>() > std::uint64_t{INT64_MAX}
                                 : value.get<std::int64_t>() < 0)
    throw DataError(place + " is " + value.dump() + ", out of range");
  return value.get<std::int64_t>();
}

const json& field(const json& object, const char* key, const std::string& place) {
  const auto found = object.find(key);
  if (found == object.end()) throw DataError(place + ": " + key + " is missing");
  return *found;
}

// 0 for a name that the format does not know.
std::int64_t bits_of_dtype(const std::string& dtype) {
  for (const auto& known : dtypes)
    if (known.name == dtype) return known.bits;
  return 0;
}

// Bytes that dtype x shape takes.
std::int64_t expected_bytes(const TensorEntry& entry, const std::string& place) {
  const auto bits = bits_of_dtype(entry.dtype);
  if (bits == 0) throw DataError(place + ": unknown dtype " + entry.dtype);
  std::int64_t total = bits;
  bool zero = false;
  for (const auto size : entry.shape) {
    zero = zero || size == 0;
    if (size != 0 && __builtin_mul_overflow(total, size, &total))
      throw DataError(place + ": the product of its shape is too large");
  }
  if (zero) return 0;
  if (total % 8 != 0) throw DataError(place + ": its numbers do not fill whole bytes");
  return total / 8;
}

TensorEntry read_entry(const json& object, const std::string& place, std::int64_t data_bytes) {
  TensorEntry entry;
  const auto& dtype = field(object, "dtype", place);
  if (!dtype.is_string()) throw DataError(place + ": dtype is not a text");
  entry.dtype = dtype.get<std::string>();
  entry.readable = false;
  for (const auto type : {StoredType::f32, StoredType::f16, StoredType::bf16})
    if (entry.dtype == safetensors_name(type)) {
      entry.type = type;
      entry.readable = true;
    }
  const auto& shape = field(object, "shape", place);
  if (!shape.is_array()) throw DataError(place + ": shape is not a list");
  for (const auto& size : shape) entry.shape.push_back(whole_number(size, place + ": shape"));

  const auto& offsets = field(object, "data_offsets", place);
  if (!offsets.is_array() || offsets.size() != 2)
    throw DataError(place + ": data_offsets is not a list of two numbers");
  const auto begin = whole_number(offsets[0], place + ": data_offsets[0]");
  const auto end = whole_number(offsets[1], place + ": data_offsets[1]");
  if (begin > end) throw DataError(place + ": data_offsets are reversed");
  if (end > data_bytes)
    throw DataError(place + ": data_offsets end at " + std::to_string(end) + ", the file has " +
                    std::to_string(data_bytes) + " bytes of data; it was cut off, fetch it again");
  entry.offset = begin;
  entry.bytes = end - begin;
  const auto bytes = expected_bytes(entry, place);
  if (bytes != entry.bytes)
    throw DataError(place + ": dtype and shape need " + std::to_string(bytes) +
                    " bytes, data_offsets give " + std::to_string(entry.bytes));
  return entry;
}

void check_metadata(const json& metadata, const std::string& place) {
  const bool texts =
      metadata.is_object() && std::all_of(metadata.begin(), metadata.end(),
                                          [](const json& value) { return value.is_string(); });
  if (!texts) throw DataError(place + " is not an object of texts");
}

// Turns each tensor's object into an entry as soon as it is parsed and drops it, and refuses what
// would take memory out of proportion or be lost in a parsed object: nesting, long lists, a key
// twice.
class HeaderParser {
 public:
  HeaderParser(const std::filesystem::path& path, std::int64_t data_bytes)
      : path_(path), data_bytes_(data_bytes) {}

  std::map<std::string, TensorEntry> parse(const std::string& text) {
    try {
      const auto rest = json::parse(text, [&](int depth, json::parse_event_t event, json& value) {
        return on_event(depth, event, value);
      });
      if (!rest.is_object()) fail("the header is not a JSON object");
    } catch (const json::parse_error& error) {
      fail("the header is not JSON at byte " + std::to_string(length_bytes + error.byte) + ": " +
           error.what());
    } catch (const json::exception& error) {  // a number that no float64 holds
      fail((name_.empty() ? "the header" : name_) + " cannot be read as JSON: " + error.what());
    }
    return std::move(entries_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw DataError(path_.string() + ": " + what);
  }

  // The depth of an event is that of what encloses it: 0 the header itself, 1 its names and the
  // objects there, 2 their keys and lists, 3 the items of lists. False drops the value.
  bool on_event(int depth, json::parse_event_t event, const json& value) {
    switch (event) {
      case json::parse_event_t::object_start:
        if (depth > 1) fail(name_ + ": nested too deeply");
        keys_.clear();
        break;
      case json::parse_event_t::array_start:
        if (depth != 2) fail(name_ + ": a list is not expected there");
        items_ = 0;
        break;
      case json::parse_event_t::value:
        if (depth == 1) fail(name_ + ": an object is expected");
        if (depth == 3 && ++items_ > max_rank) fail(name_ + ": a list is too long");
        break;
      case json::parse_event_t::key:
        on_key(depth, value.get<std::string>());
        break;
      case json::parse_event_t::object_end:
        if (depth != 1) break;
        add(value);
        return false;
      case json::parse_event_t::array_end:
        break;
    }
    return true;
  }

  void on_key(int depth, const std::string& key) {
    if (depth == 1)
      name_ = key;
    else if (!keys_.insert(key).second)
      fail(name_ + ": has the key " + key + " twice");
    else if (keys_.size() > max_keys)
      fail(name_ + ": has too many keys");
  }

  void add(const json& object) {
    const auto place = path_.string() + ": " + name_;
    const bool metadata = name_ == "__metadata__";
    if (metadata) check_metadata(object, place);
    const bool first = metadata
                           ? !std::exchange(metadata_seen_, true)
                           : entries_.emplace(name_, read_entry(object, place, data_bytes_)).second;
    if (!first) fail(name_ + " is in the header twice");
  }

  const std::filesystem::path& path_;
  std::int64_t data_bytes_;
  std::map<std::string, TensorEntry> entries_;
  std::string name_;            // of the tensor being parsed
  std::set<std::string> keys_;  // of the object being parsed
  int items_ = 0;               // of the list being parsed
  bool metadata_seen_ = false;
};

// The tensors must tile the data: no overlap, no hole, nothing left over.
void check_tiling(const std::map<std::string, TensorEntry>& entries,
                  const std::filesystem::path& path, std::int64_t data_bytes) {
  std::vector<std::pair<std::int64_t, const std::pair<const std::string, TensorEntry>*>> order;
  for (const auto& item : entries) order.emplace_back(item.second.offset, &item);
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return std::pair(a.first, a.second->second.bytes) < std::pair(b.first, b.second->second.bytes);
  });
  std::int64_t end = 0;
  for (const auto& [offset, item] : order) {
    if (offset != end)
      throw DataError(path.string() + ": " + item->first +
                      (offset < end ? " overlaps another tensor" : " follows a hole in the data") +
                      " at byte " + std::to_string(std::min(offset, end)) + " of the data");
    end += item->second.bytes;
  }
  if (end != data_bytes)
    throw DataError(path.string() + ": " + std::to_string(data_bytes - end) +
                    " bytes of data after the last tensor");
}

std::string read_header_text(const File& file) {
  const auto size = file.size();
  const auto path = file.path().string();
  if (size < length_bytes)
    throw DataError(path + ": " + std::to_string(size) + " bytes are no safetensors file");
  std::array<std::byte, length_bytes> raw{};
  file.read_at(0, raw);
  std::uint64_t length = 0;
  std::memcpy(&length, raw.data(), sizeof length);
  if (length > static_cast<std::uint64_t>(max_header_bytes))
    throw DataError(path + ": header length " + std::to_string(length) + " at byte 0 exceeds " +
                    std::to_string(max_header_bytes) + "; this is no safetensors file");
  if (length > static_cast<std::uint64_t>(size - length_bytes))
    throw DataError(path + ": header length " + std::to_string(length) +
                    " at byte 0 goes beyond the file of " + std::to_string(size) +
                    " bytes; it was cut off, fetch it again");
  std::string text(length, '\0');
  file.read_at(length_bytes, std::as_writable_bytes(std::span(text)));
  return text;
}

// The header of tensors written one after another; padded, so that the data is aligned.
std::string make_header(const std::vector<NewTensor>& tensors,
                        const std::map<std::string, std::string>& metadata) {
  auto header = nlohmann::ordered_json::object();
  header["__metadata__"] = {{"format", "pt"}};
  header["__metadata__"].update(nlohmann::ordered_json(metadata));
  std::int64_t offset = 0;
  for (const auto& tensor : tensors) {
    const auto end = offset + tensor.bytes;
    header.push_back(
        {tensor.name,
         {{"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {offset, end}}}});
    offset = end;
  }
  auto text = header.dump();
  text.resize((text.size() + length_bytes - 1) / length_bytes * length_bytes, ' ');
  return text;
}

void copy_bytes(const TensorEntry& from, File& to, std::int64_t offset) {
  const auto source = File::open_to_read(from.file);
  const auto capacity = std::min(copy_block_bytes, from.bytes);
  std::vector<std::byte> buffer(static_cast<std::size_t>(capacity));
  for (std::int64_t done = 0; done < from.bytes; done += capacity) {
    const auto count = static_cast<std::size_t>(std::min(capacity, from.bytes - done));
    const auto block = std::span(buffer).first(count);
    source.read_at(from.offset + done, block);
    to.write_at(offset + done, block);
  }
}

}  // namespace

std::map<std::string, TensorEntry> read_safetensors_header(const std::filesystem::path& path) {
  const auto file = File::open_to_read(path);
  const auto text = read_header_text(file);
  const auto data_start = length_bytes + static_cast<std::int64_t>(text.size());
  const auto data_bytes = file.size() - data_start;
  auto entries = HeaderParser(path, data_bytes).parse(text);
  check_tiling(entries, path, data_bytes);
  for (auto& [name, entry] : entries) {
    entry.file = path;
    entry.offset += data_start;
  }
  return entries;
}

NewTensor copy_of(const std::string& name, const TensorEntry& content) {
  return {name, content.dtype, content.shape, content.bytes,
          [&content](File& file, std::int64_t offset) { copy_bytes(content, file, offset); }};
}

void write_safetensors(const std::filesystem::path& path, std::vector<NewTensor> tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::sort(tensors.begin(), tensors.end(), [](const NewTensor& a, const NewTensor& b) {
    const auto bits_a = bits_of_dtype(a.dtype), bits_b = bits_of_dtype(b.dtype);
    return bits_a != bits_b ? bits_a > bits_b : a.name < b.name;
  });
  const auto header = make_header(tensors, metadata);
  const std::uint64_t length = header.size();
  auto file = File::create(path);
  file.write_at(0, std::as_bytes(std::span(&length, 1)));
  file.write_at(length_bytes, std::as_bytes(std::span(header)));
  auto offset = length_bytes + static_cast<std::int64_t>(header.size());
  for (const auto& tensor : tensors) {
    tensor.write(file, offset);
    offset += tensor.bytes;
  }
  file.finish();
}

}  // namespace quench::model
