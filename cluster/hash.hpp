#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace quench::cluster {

// SHA-256 as 64 hex digits; identity is content.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256& update(std::string_view bytes);
  // Adds a length-prefixed field, so that ("ab", "c") and ("a", "bc") differ.
  Sha256& field(std::string_view bytes);
  // The digits of everything added so far; starts afresh.
  std::string hex();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

std::string sha256(std::string_view bytes);
// Of a whole file, read in large blocks; throws DataError when it cannot be read.
std::string sha256_file(const std::filesystem::path& path);

// A file name for any Unicode name: [A-Za-z0-9_-] kept, other runs become one '_' (methods: concept
// safe name), cut to 40 bytes, then '-' and the first 10 digits of `hash` (these alone when nothing
// of the name is left).
std::string safe_file_name(std::string_view name, std::string_view hash);

}  // namespace quench::cluster
