#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "cluster/store.hpp"
#include "cluster/task_runner.hpp"
#include "model/transformer.hpp"
#include "stages/activations/options.hpp"
#include "stages/activations/sentence_passages.hpp"
#include "stages/options.hpp"
#include "stages/schemas.hpp"
#include "stages/types.hpp"

// Stage activations: a semi-NMF of the MLP activations of each concept and layer (methods 3.2). Off
// unless layers are named.
namespace quench::activations {

inline constexpr std::int64_t schema = schemas::activations;  // of activations.h5

void describe(Options& options, OptionTable& table);  // keys activations.*

// The layers that the options name, ascending, each once. Throws ConfigError for what is neither a
// layer of the model, a range of them, nor "all".
std::vector<std::int64_t> chosen_layers(const Options& options, std::int64_t model_layers);

struct Inputs {
  std::int64_t concepts = 0;
  // Token ids of the sentences of concept c, without what the tokenizer puts before a text; and the
  // identity of concept c.
  std::function<std::vector<Tokens>(std::int64_t)> sentences;
  std::function<std::string(std::int64_t)> concept_hash;
  std::vector<Tokens> neutral;  // sentences of the neutral text
  Tokens prefix;                // what the tokenizer puts before a text (BOS)
  const model::Transformer* model = nullptr;
  std::string model_hash;  // identity of the model
  std::string inputs_hash, run_id;
  std::function<std::string(std::int64_t)> name;  // of concept c, for messages; empty: none
};

// Reads activations.h5.
class ActivationFeatures {
 public:
  explicit ActivationFeatures(const std::filesystem::path& file);
  std::int64_t concepts() const { return concepts_; }
  const std::vector<std::int64_t>& layers() const { return layers_; }  // ascending
  // The features of a concept in one of the layers. Empty (rank 0) where the factorisation failed.
  // Throws ConfigError for a layer that is not in the file.
  NeuronFeatures features(std::int64_t concept_index, std::int64_t layer) const;
  // Why the factorisation failed; empty for a good one.
  std::string failure(std::int64_t concept_index, std::int64_t layer) const;

 private:
  std::int64_t place_of(std::int64_t concept_index, std::int64_t layer) const;

  cluster::StoreReader store_;
  std::vector<std::int64_t> layers_;
  std::vector<std::int64_t> feature_offsets_;  // by fit, [fits + 1]
  std::int64_t concepts_ = 0;
};

// Collective over the world. Pairs of concept and layer through the queue; the sentences, and so
// the positions, of one factorisation sharded over a group, each rank computing its own sentences'
// activations. Writes run_directory/activations.h5. A factorisation that fails is recorded and left
// empty; one that is interrupted goes on from its last checkpoint, under any number of ranks.
// Throws ConfigError, DataError, Stopped.
ActivationFeatures run(const Inputs& inputs, const Options& options, cluster::Context& context);

}  // namespace quench::activations
