#pragma once

#include <filesystem>
#include <iosfwd>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "cluster/error.hpp"
#include "model/files.hpp"
#include "model/weights.hpp"
#include "pipeline/model_directory.hpp"
#include "stages/corpus/corpus.hpp"
#include "stages/erasure/erasure.hpp"
#include "stages/options.hpp"

namespace quench::pipeline {

// What is to be told of a model that a joint edit of factor 0 leaves as it was.
inline constexpr auto no_joint_edit =
    "no factor of the joint edit passed its gates (status gated): no row is edited";

// A model with edits that are not yet in it.
struct ErasedModel {
  ModelDirectory model;
  model::RowOverlay overlay;
  nlohmann::json provenance;  // run, concepts, joint factor, hashes of the base model's files
};

// A run directory as the commands see it that only read: no MPI, no weights.
class SavedRun {
 public:
  // Throws DataError when the directory holds no run.
  explicit SavedRun(std::filesystem::path directory);

  const std::filesystem::path& directory() const { return directory_; }
  const nlohmann::json& manifest() const { return manifest_; }
  std::filesystem::path model_directory() const;
  bool has(const std::string& file) const { return model::is_there(directory_ / file); }
  std::filesystem::path file(const std::string& name) const { return directory_ / name; }

  // Adds to `problems` which of these stages are not complete, or of another version of Quench.
  void require(const std::vector<std::string>& stages, Problems& problems) const;
  // Sets the options of the table that the run's configuration names.
  void read_options(OptionTable& table) const;

  // Concepts that were marked sensitive when the run last began, or are in its catalog now, where
  // that is at hand. Nothing where neither can be told.
  std::optional<std::set<std::string>> sensitive() const;

  // The run's model with these concepts (or {"all"}) erased, their edits combined as the run's
  // joint edit is. Throws ConfigError for a concept that the run lacks, DataError when edits are
  // missing or the model's files are no longer those of the run.
  ErasedModel erase(const std::vector<std::string>& concepts) const;

 private:
  std::filesystem::path directory_;
  nlohmann::json manifest_;
};

// A line a stage: complete, in progress (finished tasks in its journals), or to come.
void print_status(std::ostream& out, const SavedRun& run);

}  // namespace quench::pipeline
