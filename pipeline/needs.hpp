#pragma once

#include <cstdint>
#include <vector>

#include "model/config.hpp"
#include "model/memory.hpp"
#include "pipeline/configuration.hpp"
#include "pipeline/token_counts.hpp"
#include "stages/corpus/catalog.hpp"
#include "stages/dictionary/cost_model.hpp"

// What a run will need, from configuration, catalog, the catalog's numbers of tokens and model
// configuration alone.
namespace quench::pipeline {

// Of stage activations; all 0 when it is off. Tokens are estimated from the texts' lengths.
struct ActivationNeeds {
  std::int64_t fits = 0;      // concepts x layers
  double forward_tokens = 0;  // through the whole model
  double flops = 0;           // of the factorisations
  double bytes = 0;           // of one rank, beside a forward batch
};

// Throws ConfigError for layers that the model lacks.
ActivationNeeds activation_needs(const Configuration& configuration,
                                 const model::ModelConfig& model,
                                 const std::vector<corpus::ConceptEntry>& concepts,
                                 const corpus::SharedText& shared);

// One factorisation of stage dictionary, of so many tokens, shared by `ranks` where it is joint.
dictionary::FitShape fit_shape(const Configuration& configuration, const model::ModelConfig& model,
                               std::int64_t tokens, int ranks);

// Rows that stage dictionary's factorisations have on average, and that the largest may have.
std::int64_t mean_rows(const Configuration& configuration, std::int64_t vocab,
                       const TokenCounts& tokens);
std::int64_t most_rows(const Configuration& configuration, std::int64_t vocab,
                       const TokenCounts& tokens, std::int64_t concepts);

// `ranks`: of the whole run. `judge`: the model that answers the judge's questions beside `model`;
// null: none. Throws as activation_needs().
model::MemoryEstimate memory_needs(const Configuration& configuration,
                                   const model::ModelConfig& model, const model::ModelConfig* judge,
                                   int ranks, const std::vector<corpus::ConceptEntry>& concepts,
                                   const corpus::SharedText& shared, const TokenCounts& tokens);

}  // namespace quench::pipeline
