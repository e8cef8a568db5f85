#pragma once

#include <filesystem>
#include <iosfwd>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "stages/corpus/corpus.hpp"
#include "stages/erasure/erasure.hpp"

namespace quench::pipeline {

// A run directory as the commands see it that only read: no MPI, no weights.
class SavedRun {
 public:
  // Throws DataError when the directory holds no run.
  explicit SavedRun(std::filesystem::path directory);

  const std::filesystem::path& directory() const { return directory_; }
  const nlohmann::json& manifest() const { return manifest_; }
  std::filesystem::path model_directory() const;
  bool has(const std::string& file) const { return std::filesystem::exists(directory_ / file); }
  std::filesystem::path file(const std::string& name) const { return directory_ / name; }

  // The index of a concept by its name or one of its aliases; throws ConfigError with the nearest
  // names.
  static std::int64_t find(const corpus::Corpus& corpus, const std::string& name);
  // Writes the model with these concepts (or {"all"}) erased. Throws ConfigError, DataError.
  void export_to(const std::vector<std::string>& concepts, const std::filesystem::path& out,
                 bool overwrite) const;

 private:
  std::filesystem::path directory_;
  nlohmann::json manifest_;
};

// A line a stage: complete, in progress (finished tasks in its journals), or to come.
void print_status(std::ostream& out, const SavedRun& run);

}  // namespace quench::pipeline
