#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "cluster/store.hpp"
#include "cluster/task_runner.hpp"
#include "stages/schemas.hpp"
#include "stages/selection/judge.hpp"
#include "stages/selection/options.hpp"
#include "stages/selection/statistics.hpp"
#include "stages/types.hpp"

// Stage selection: which features and which tokens are a concept's own.
namespace quench::selection {

inline constexpr std::int64_t schema = schemas::selection;  // of selection.h5

// A token of the vocabulary near to another one in the embedding.
struct Neighbour {
  std::int32_t token = 0;
  double cosine = 0;
};

struct Inputs {
  std::int64_t concepts = 0;
  std::int64_t vocab = 0;
  std::function<DocumentFrequencies(std::int64_t)> frequencies;
  DocumentFrequencies neutral;
  std::function<std::vector<std::string>(std::int64_t)> names;  // name and aliases
  std::function<std::string(std::int64_t)> concept_hash;
  std::function<Factors(std::int64_t)> factors;
  // The text of a token alone, and the piece that stands for it in the vocabulary; empty for
  // special tokens.
  std::function<std::string(std::int32_t)> decoded, piece;
  // How often tokens occur in so many sentences of general text: the background, beside the neutral
  // text, of a concept that has no others. Called where there is one.
  std::function<DocumentFrequencies(std::int64_t sentences)> general;
  // Neighbours of each of the tokens; called where selection.variant_cosine wants them.
  std::function<std::vector<std::vector<Neighbour>>(std::span<const std::int32_t>, double cosine)>
      neighbours;
  std::function<Decision(std::int64_t)> manual;                // method manual
  std::function<std::vector<Judgement>(std::int64_t)> judged;  // method judge: of each feature
  std::string inputs_hash, run_id;
};

// Reads selection.h5.
class Selection {
 public:
  explicit Selection(const std::filesystem::path& file);
  Selected selected(std::int64_t concept_index) const;
  // Near-duplicates and aliases: the lowest concept of the group.
  std::int64_t group(std::int64_t concept_index) const { return groups_.at(concept_index); }
  std::int64_t concepts() const { return static_cast<std::int64_t>(feature_offsets_.size()) - 1; }

 private:
  cluster::StoreReader store_;
  std::vector<std::int64_t> feature_offsets_, groups_;
};

// The features of a concept that a judge is asked about. Local.
std::vector<Candidate> judge_candidates(const Inputs& inputs, const Options& options,
                                        std::int64_t concept_index);

// Collective over the world. Writes run_directory/selection.h5: features and tokens with their
// statistics, variants, near misses, groups of near-duplicates, collisions (tokens wanted by
// several concepts).
Selection run(const Inputs& inputs, const Options& options, cluster::Context& context);

}  // namespace quench::selection
