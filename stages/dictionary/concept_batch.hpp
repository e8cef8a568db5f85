#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "stages/dictionary/dictionary.hpp"
#include "stages/dictionary/initial_file.hpp"

namespace quench::dictionary {

// This rank's rows of A^T: the stored embedding rows of its share of the tokens. Throws DataError:
// tokens beyond the embedding, numbers that are not finite.
Shard make_shard(const Inputs& inputs, std::span<const std::int32_t> tokens,
                 const cluster::Communicator& group);

// Collective. Concepts to factorise together; 0: one by one, on the host.
std::int64_t batch_size(const Inputs& inputs, const Options& options, cluster::Context& context,
                        std::span<const cluster::Task> tasks);

// Concepts that a rank factorises together on its device, before it is asked for each of them.
// Local.
class ConceptBatch {
 public:
  // The file that a concept's factorisation is saved to and goes on from.
  using Checkpoint = std::function<std::filesystem::path(std::int64_t concept_index)>;

  // initial_file: null unless dictionary.init = file.
  ConceptBatch(const Inputs& inputs, const Options& options, const InitialFile* initial_file,
               Checkpoint checkpoint, cluster::Context& context)
      : inputs_(inputs),
        options_(options),
        initial_file_(initial_file),
        checkpoint_(std::move(checkpoint)),
        context_(context) {}

  // What cannot be done so is left to the host: bad rows, a singular system, too little memory on
  // the device. Throws ClusterError when the device fails.
  void factorise(std::span<const std::int64_t> concepts);
  // The fit of a concept, once. Throws Stopped when there is none because a stop was asked for.
  std::optional<Fit> take(std::int64_t concept_index);

 private:
  struct Jobs;
  void add(std::int64_t concept_index, Jobs& to) const;

  const Inputs& inputs_;
  const Options& options_;
  const InitialFile* initial_file_;
  Checkpoint checkpoint_;
  cluster::Context& context_;
  bool stopped_ = false;
  std::map<std::int64_t, Fit> fits_;
};

}  // namespace quench::dictionary
