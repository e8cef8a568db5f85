#include "pipeline/needs.hpp"

#include <algorithm>

#include "stages/activations/cost.hpp"
#include "stages/dictionary/half_product.hpp"
#include "stages/factorisation/kept.hpp"

namespace quench::pipeline {

namespace {

constexpr double token_bytes = 4;  // of a token's text, roughly

bool is_joint(const Configuration& configuration) {
  return configuration.dictionary.scope != "concept";
}

// Of stage dictionary, whose largest fit is of `rows` tokens. Fits of concepts have at least the
// neutral tokens, and one of few may take more than one of many: where it holds C, beside that of
// the neutral tokens, which the fits of a rank share.
void add_dictionary(const Configuration& configuration, const model::ModelConfig& model,
                    std::int64_t rows, std::int64_t neutral, int ranks,
                    model::MemoryEstimate& estimate) {
  constexpr std::int64_t steps = 64;
  const bool joint = is_joint(configuration);
  const auto least = joint ? rows : std::min(neutral, rows);
  double most = 0;
  for (std::int64_t i = 0; i <= steps; ++i) {
    const auto shape = fit_shape(configuration, model, least + i * (rows - least) / steps, ranks);
    const auto form = dictionary::choose_form(shape, dictionary::form_of(configuration.dictionary));
    const auto cost = dictionary::predict(shape, form);
    const double shared = joint || form != dictionary::Form::gram
                              ? 0
                              : 4 * static_cast<double>(neutral) * static_cast<double>(neutral);
    most = std::max(most, cost.resident_bytes + shared + (joint ? 0 : cost.gathered_bytes));
    if (joint) estimate.gathered = static_cast<std::int64_t>(cost.gathered_bytes);
  }
  estimate.factorisation = static_cast<std::int64_t>(most);
}

}  // namespace

ActivationNeeds activation_needs(const Configuration& configuration,
                                 const model::ModelConfig& model,
                                 const std::vector<corpus::ConceptEntry>& concepts,
                                 const corpus::SharedText& shared) {
  const auto& options = configuration.activations;
  const auto layers = activations::chosen_layers(options, model.layers);
  ActivationNeeds needs;
  if (layers.empty()) return needs;
  double neutral = 0;
  for (const auto& text : shared.neutral) neutral += static_cast<double>(text.size()) / token_bytes;
  const double share = static_cast<double>(layers.back() + 1) / static_cast<double>(model.layers);
  activations::FitShape shape{0, static_cast<double>(model.mlp_width),
                              static_cast<double>(model.width), static_cast<double>(options.rank),
                              options.density};
  for (const auto& entry : concepts) {
    shape.positions = neutral + static_cast<double>(entry.sentence_bytes) / token_bytes;
    needs.forward_tokens += shape.positions * share;
    needs.flops += static_cast<double>(layers.size()) * activations::usual_iterations *
                   activations::flops(shape);
    shape.positions /= static_cast<double>(configuration.run.group_size);
    needs.bytes = std::max(needs.bytes, activations::resident_bytes(shape));
  }
  needs.fits = std::ssize(concepts) * std::ssize(layers);
  return needs;
}

dictionary::FitShape fit_shape(const Configuration& configuration, const model::ModelConfig& model,
                               std::int64_t tokens, int ranks) {
  const auto& options = configuration.dictionary;
  return {.rows = tokens,
          .width = model.width,
          .rank = options.rank,
          .kept = kept_per_feature(tokens, options.density),
          .ranks = is_joint(configuration) ? ranks : static_cast<int>(configuration.run.group_size),
          .product_speed =
              model.stored_type == model::StoredType::bf16 ? dictionary::HalfProduct::speed() : 1,
          .iterations = dictionary::expected_iterations(options)};
}

std::int64_t mean_rows(const Configuration& configuration, std::int64_t vocab,
                       const TokenCounts& tokens) {
  const auto& scope = configuration.dictionary.scope;
  if (scope == "vocabulary") return vocab;
  return std::min(vocab, scope == "concept" ? tokens.mean : tokens.catalog);
}

std::int64_t most_rows(const Configuration& configuration, std::int64_t vocab,
                       const TokenCounts& tokens, std::int64_t concepts) {
  const auto& scope = configuration.dictionary.scope;
  if (scope == "vocabulary") return vocab;
  const auto own = tokens.largest - tokens.neutral;
  return std::min(vocab, tokens.neutral + own * (scope == "concept" ? 1 : concepts));
}

model::MemoryEstimate memory_needs(const Configuration& configuration,
                                   const model::ModelConfig& model, const model::ModelConfig* judge,
                                   int ranks, const std::vector<corpus::ConceptEntry>& concepts,
                                   const corpus::SharedText& shared, const TokenCounts& tokens) {
  const auto& relearning = configuration.relearning;
  const auto activations = activation_needs(configuration, model, concepts, shared);
  const auto batch_tokens =
      std::max(configuration.evaluation.batch_tokens,
               activations.fits > 0 ? configuration.activations.batch_tokens : std::int64_t{0});
  auto estimate =
      model::estimate_memory(model, batch_tokens, relearning.enabled ? relearning.max_length : 0);
  add_dictionary(configuration, model,
                 most_rows(configuration, model.vocab, tokens, std::ssize(concepts)),
                 tokens.neutral, ranks, estimate);
  if (activations.fits > 0)
    estimate.factorisation =
        std::max(estimate.factorisation,
                 estimate.activations + static_cast<std::int64_t>(activations.bytes));
  if (judge != nullptr) {
    const auto asked = model::estimate_memory(*judge, batch_tokens, 0);
    estimate.weights += asked.weights;
    estimate.activations = std::max(estimate.activations, asked.activations);
  }
  return estimate;
}

}  // namespace quench::pipeline
