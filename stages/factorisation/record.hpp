#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

// What is kept of factorisations outside of HDF5 files, as CBOR: an object of numbers and text, and
// arrays as little-endian byte strings. Local.
namespace quench {

template <typename T>
nlohmann::json bytes_of(const std::vector<T>& values) {
  std::vector<std::uint8_t> bytes(values.size() * sizeof(T));
  if (!bytes.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return nlohmann::json::binary(std::move(bytes));
}

template <typename T>
void read_bytes(const nlohmann::json& record, const char* key, std::vector<T>& values) {
  const auto& bytes = record.at(key).get_binary();
  values.resize(bytes.size() / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), values.size() * sizeof(T));
}

std::string to_cbor(const nlohmann::json& record);

// The file appears whole or not at all, and ends with a checksum. Throws DataError when it cannot
// be written.
void save_record(const std::filesystem::path& file, const nlohmann::json& record);
// Nothing when there is no such file, or when it is damaged (told in the log).
std::optional<nlohmann::json> load_record(const std::filesystem::path& file);

}  // namespace quench
