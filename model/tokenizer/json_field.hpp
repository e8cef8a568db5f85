#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace quench::model::tokenization {

// A value of a JSON file together with its place, so that every complaint names file and field.
// All members that return a value throw DataError when it is missing or of another type.
class JsonField {
 public:
  // The whole file, an object. Throws DataError when it cannot be read or is no JSON (with the
  // byte offset), or is nested deeply.
  static JsonField read(const std::filesystem::path& file);

  // Is the key there, and not null?
  bool has(std::string_view key) const;
  JsonField at(std::string_view key) const;
  JsonField at(std::size_t index) const;
  std::vector<JsonField> elements() const;

  std::string string() const;
  std::string string_or(std::string_view key, std::string_view fallback) const;
  bool boolean_or(std::string_view key, bool fallback) const;
  // In 0 ... 2^31 - 1.
  std::int32_t id() const;

  const nlohmann::json& json() const { return *value_; }
  // Throws DataError: "FILE: PLACE: `what`".
  [[noreturn]] void fail(std::string_view what) const;

 private:
  struct File {
    std::filesystem::path path;
    nlohmann::json root;
  };
  JsonField(std::shared_ptr<const File> file, const nlohmann::json& value, std::string place)
      : file_(std::move(file)), value_(&value), place_(std::move(place)) {}

  std::shared_ptr<const File> file_;
  const nlohmann::json* value_;
  std::string place_;
};

}  // namespace quench::model::tokenization
