#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "cluster/store.hpp"
#include "cluster/task_runner.hpp"
#include "stages/options.hpp"
#include "stages/selection/statistics.hpp"
#include "stages/types.hpp"

// Stage selection: which features and which tokens are a concept's own.
namespace quench::selection {

inline constexpr std::int64_t schema = 1;  // of selection.h5

void describe(Options& options, OptionTable& table);  // keys selection.*

struct Inputs {
  std::int64_t concepts = 0;
  std::int64_t vocab = 0;
  std::function<DocumentFrequencies(std::int64_t)> frequencies;
  DocumentFrequencies neutral;
  std::function<std::vector<std::string>(std::int64_t)> names;  // name and aliases
  std::function<std::string(std::int64_t)> concept_hash;
  std::function<Factors(std::int64_t)> factors;
  std::string inputs_hash, run_id;
};

// Reads selection.h5.
class Selection {
 public:
  explicit Selection(const std::filesystem::path& file);
  Selected selected(std::int64_t concept_index) const;
  std::int64_t concepts() const { return static_cast<std::int64_t>(feature_offsets_.size()) - 1; }

 private:
  cluster::StoreReader store_;
  std::vector<std::int64_t> feature_offsets_;
};

// Collective over the world. Writes run_directory/selection.h5: features and tokens with their
// statistics, groups of near-duplicates, collisions (tokens edited by several concepts).
Selection run(const Inputs& inputs, const Options& options, cluster::Context& context);

}  // namespace quench::selection
