#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "cluster/store.hpp"
#include "cluster/task_runner.hpp"
#include "stages/dictionary/factorise.hpp"
#include "stages/options.hpp"
#include "stages/schemas.hpp"
#include "stages/types.hpp"

// Stage dictionary: a sparse factorisation of each concept's token embeddings.
namespace quench::dictionary {

inline constexpr std::int64_t schema = schemas::dictionary;  // of dictionary.h5

void describe(Options& options, OptionTable& table);  // keys dictionary.*

// What choose_form() is asked for: a joint dictionary never holds n x K numbers unless told to.
std::string form_of(const Options& options);

struct Inputs {
  std::int64_t concepts = 0;
  // Ids of the tokens of concept c and of the neutral text together (V'), ascending, without
  // special tokens; and the identity of concept c.
  std::function<std::vector<std::int32_t>(std::int64_t)> tokens;
  std::function<std::string(std::int64_t)> concept_hash;
  std::vector<std::int32_t> shared_tokens;  // those of the neutral text, which all concepts have
  std::function<bool(std::int32_t)> is_special;  // ids that a joint dictionary leaves out
  std::span<const float> embedding;              // [vocab, width], stored units
  std::int64_t width = 0;
  double scale = 1;            // embedding scale of the model (methods 1)
  std::string embedding_hash;  // identity of the embedding matrix
  std::string initial_hash;    // and of dictionary.init_file; empty where it is not used
  std::string inputs_hash, run_id;
  std::function<std::string(std::int64_t)> name;  // of concept c, for messages; empty: none
};

// Reads dictionary.h5.
class Dictionaries {
 public:
  explicit Dictionaries(const std::filesystem::path& file);
  // Dictionaries in the file: one a concept, or one that all concepts share.
  std::int64_t count() const { return static_cast<std::int64_t>(feature_offsets_.size()) - 1; }
  bool joint() const { return joint_; }
  // The dictionary of a concept. Empty (rank 0) where the factorisation failed.
  const Factors& factors(std::int64_t concept_index) const;
  // Why the factorisation of a concept failed; empty for a good one.
  std::string failure(std::int64_t concept_index) const;

 private:
  std::int64_t place_of(std::int64_t concept_index) const { return joint_ ? 0 : concept_index; }

  cluster::StoreReader store_;
  bool joint_ = false;
  std::vector<std::int64_t> feature_offsets_;
  mutable std::int64_t read_ = -1;  // which dictionary last_ is
  mutable Factors last_;
};

// Collective over the world. Scope `concept`: concepts through the queue, the rows of one
// factorisation sharded over a group. Scopes `catalog` and `vocabulary`: one joint factorisation,
// its rows sharded over the world. Writes run_directory/dictionary.h5. A concept whose
// factorisation fails is recorded and left empty. A factorisation that is interrupted goes on from
// its last checkpoint, under any number of ranks. Throws DataError, Stopped.
Dictionaries run(const Inputs& inputs, const Options& options, cluster::Context& context);

}  // namespace quench::dictionary
