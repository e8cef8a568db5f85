#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "cluster/store.hpp"
#include "pipeline/attack_scorer.hpp"

namespace quench::pipeline {

// The attacks on a finished run's joint model, at their ends. Keeps what the scorer does.
class SavedAttacks {
 public:
  // A relearning.h5. Throws DataError where it is damaged.
  SavedAttacks(const std::filesystem::path& file, const AttackScorer& scorer);

  // What is back of a concept's figure: mean over seeds, n: questions.
  struct Back {
    Estimate left;
    std::int64_t seeds = 0;
  };
  // By concept; those that it can be told of.
  const std::map<std::int64_t, Back>& back() const { return back_; }
  const Estimate& mean() const { return mean_; }  // over the attacked concepts
  // What the attacked model said about a concept that is among these. `purpose` keys the random
  // numbers.
  evaluation::SeededSample sample(std::int64_t concept_index, const std::string& purpose) const;

 private:
  cluster::StoreReader store_;
  AttackScorer scorer_;
  std::vector<std::int64_t> concepts_, seeds_;  // of each attack
  std::vector<std::uint8_t> erased_;
  std::map<std::int64_t, Back> back_;
  Estimate mean_;
};

}  // namespace quench::pipeline
