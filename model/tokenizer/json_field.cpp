#include "model/tokenizer/json_field.hpp"

#include <limits>

#include "cluster/error.hpp"
#include "model/files.hpp"

namespace quench::model::tokenization {

namespace {
constexpr std::int64_t kLargestFile = std::int64_t{1} << 29;  // the largest ones known: 33 MB
}

JsonField JsonField::read(const std::filesystem::path& file) {
  auto parsed = std::make_shared<const File>(File{file, read_json_object(file, kLargestFile)});
  const nlohmann::json& root = parsed->root;
  return {std::move(parsed), root, ""};
}

bool JsonField::has(std::string_view key) const {
  if (!value_->is_object()) fail("must be an object");
  const auto found = value_->find(key);
  return found != value_->end() && !found->is_null();
}

JsonField JsonField::at(std::string_view key) const {
  std::string place = place_.empty() ? std::string(key) : place_ + "." + std::string(key);
  if (!has(key)) JsonField(file_, *value_, place).fail("is missing");
  return {file_, *value_->find(key), std::move(place)};
}

JsonField JsonField::at(std::size_t index) const {
  if (!value_->is_array() || index >= value_->size()) fail("must be an array with more elements");
  return {file_, (*value_)[index], place_ + "[" + std::to_string(index) + "]"};
}

std::vector<JsonField> JsonField::elements() const {
  if (!value_->is_array()) fail("must be an array");
  std::vector<JsonField> all;
  all.reserve(value_->size());
  for (std::size_t i = 0; i < value_->size(); ++i) all.push_back(at(i));
  return all;
}

std::string JsonField::string() const {
  if (!value_->is_string()) fail("must be a string");
  return value_->get<std::string>();
}

std::string JsonField::string_or(std::string_view key, std::string_view fallback) const {
  return has(key) ? at(key).string() : std::string(fallback);
}

bool JsonField::boolean_or(std::string_view key, bool fallback) const {
  if (!has(key)) return fallback;
  const JsonField field = at(key);
  if (!field.value_->is_boolean()) field.fail("must be true or false");
  return field.value_->get<bool>();
}

std::int32_t JsonField::id() const {
  if (!value_->is_number_unsigned() ||
      value_->get<std::uint64_t>() > std::numeric_limits<std::int32_t>::max()) {
    fail("must be an integer in 0 ... 2147483647");
  }
  return value_->get<std::int32_t>();
}

void JsonField::fail(std::string_view what) const {
  throw DataError(file_->path.string() + ": " + (place_.empty() ? "the whole file" : place_) +
                  ": " + std::string(what));
}

}  // namespace quench::model::tokenization
