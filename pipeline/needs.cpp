#include "pipeline/needs.hpp"

#include <algorithm>

#include "stages/activations/cost.hpp"
#include "stages/dictionary/half_product.hpp"
#include "stages/factorisation/kept.hpp"

namespace quench::pipeline {

namespace {

// Rough sizes of texts: bytes a token, and tokens of a concept's sentence.
constexpr double token_bytes = 4, sentence_tokens = 35;
// Tokens of a concept's and the neutral sentences: a few thousand.
constexpr std::int64_t dictionary_rows = 8192;

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
    shape.positions = neutral + static_cast<double>(entry.sentences) * sentence_tokens;
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
  return {
      .rows = tokens,
      .width = model.width,
      .rank = options.rank,
      .kept = kept_per_feature(tokens, options.density),
      .ranks = options.scope == "concept" ? static_cast<int>(configuration.run.group_size) : ranks,
      .product_speed =
          model.stored_type == model::StoredType::bf16 ? dictionary::HalfProduct::speed() : 1,
      .iterations = dictionary::expected_iterations(options)};
}

model::MemoryEstimate memory_needs(const Configuration& configuration,
                                   const model::ModelConfig& model, const model::ModelConfig* judge,
                                   int ranks, const std::vector<corpus::ConceptEntry>& concepts,
                                   const corpus::SharedText& shared) {
  const auto& relearning = configuration.relearning;
  const auto activations = activation_needs(configuration, model, concepts, shared);
  const auto batch_tokens =
      std::max(configuration.evaluation.batch_tokens,
               activations.fits > 0 ? configuration.activations.batch_tokens : std::int64_t{0});
  auto estimate =
      model::estimate_memory(model, batch_tokens, relearning.enabled ? relearning.max_length : 0);
  // Of a joint dictionary, the tokens of all concepts at most; C of the neutral tokens is shared.
  const bool is_joint = configuration.dictionary.scope != "concept";
  const auto all = configuration.dictionary.scope == "vocabulary"
                       ? model.vocab
                       : std::min(model.vocab, dictionary_rows * std::ssize(concepts));
  const auto shape = fit_shape(configuration, model, is_joint ? all : dictionary_rows, ranks);
  const auto form = dictionary::choose_form(shape, dictionary::form_of(configuration.dictionary));
  const double shared_gram =
      form == dictionary::Form::gram ? 4.0 * dictionary_rows * dictionary_rows : 0;
  estimate.factorisation =
      static_cast<std::int64_t>(dictionary::predict(shape, form).resident_bytes + shared_gram);
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
