#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "stages/selection/background.hpp"
#include "stages/selection/selection.hpp"
#include "stages/selection/statistics.hpp"
#include "stages/selection/variants.hpp"

// The verdict on one concept. Local: nothing here communicates.
namespace quench::selection {

// Why a token that comes near is not edited.
enum class Miss : std::uint8_t {
  neutral,        // it occurs in the neutral text
  low_z,          // its z-score is too low
  no_feature,     // it may be edited, but no selected feature holds it
  variant_low_z,  // a variant by its letters, that others use too often
};
struct NearMiss {
  std::int32_t token = 0;
  double z = 0;
  Miss reason = Miss::neutral;
};

// How a variant was found.
enum class Kinship : std::uint8_t { letters, neighbour };
struct FoundVariant {
  Variant variant;
  Kinship kinship = Kinship::letters;
  double z =
      0;  // of its commonest spelling, were it as often in the concept's sentences as its stem
  double cosine = 0;  // neighbour: to its stem
};

// All that selection.h5 says of one concept.
struct Verdict {
  std::string hash;
  std::int64_t group = 0;
  std::int64_t background_sentences = 0;
  bool alone = false;  // no other concept to contrast with: general frequencies took their place
  FeatureStatistics statistics;
  std::vector<Judgement> judged;  // method judge: of each feature
  Choice choice;
  std::int64_t without_feature = 0;     // manual: tokens named that no feature holds
  std::vector<double> z;                // of the selected tokens
  std::vector<std::int32_t> sentences;  // of the concept that hold them
  std::vector<FoundVariant> variants;   // by token, ascending
  std::vector<NearMiss> misses;         // by z, descending
};

// What a concept is judged against.
struct Bench {
  const Inputs& inputs;
  const Options& options;
  const Background& whole;              // with `excluded`, the background
  const DocumentFrequencies& excluded;  // the concept's group
  const WordIndex* words = nullptr;     // null: no variants
};

// z-scores and labels of the tokens of `factors`.
TokenEvidence evidence_of(const Bench& bench, const Factors& factors,
                          const DocumentFrequencies& own);

// The verdict but for group and alone.
Verdict judge(const Bench& bench, std::int64_t concept_index, const DocumentFrequencies& own);

}  // namespace quench::selection
