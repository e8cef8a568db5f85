#include "stages/corpus/pieces.hpp"

#include <map>
#include <set>

#include "cluster/error.hpp"
#include "cluster/hash.hpp"

namespace quench::corpus {
namespace {

const model::ChatTemplate* template_for(const Inputs& inputs, const Options& options) {
  if (options.prompt_style == "plain") return nullptr;
  if (options.prompt_style == "chat" && !inputs.chat)
    throw ConfigError(
        "corpus.prompt_style: 'chat', but the model has no chat template; use auto or plain");
  return inputs.chat ? &*inputs.chat : nullptr;
}

}  // namespace

PieceMaker::PieceMaker(const Inputs& inputs, const Options& options)
    : tokenizer_(*inputs.tokenizer),
      options_(options),
      prompts_(tokenizer_, template_for(inputs, options)),
      making_{prompts_,
              options.letter,
              options.open,
              options.train_forms,
              options.letter_order,
              options.shots,
              options.held_out_paragraphs} {
  cluster::Sha256 hash;
  hash.field(inputs.inputs_hash).field(prompts_.is_chat() ? "chat" : "plain");
  hash.field(options.letter ? "letter" : "").field(options.open ? "open" : "");
  hash.field(options.letter_order).field(std::to_string(options.shots));
  for (const auto& form : options.train_forms) hash.field(form);
  identity_ = hash.hex();
}

void PieceMaker::add_sentences(const std::vector<std::string>& sentences, Piece& piece) const {
  std::map<std::int32_t, std::int32_t> counts;
  for (const auto& sentence : sentences) {
    const auto& ids = piece.sentences.emplace_back(tokenizer_.encode(sentence));
    for (const auto id : std::set(ids.begin(), ids.end()))
      if (!tokenizer_.is_special(id)) ++counts[id];
  }
  piece.frequencies.sentences = static_cast<std::int64_t>(sentences.size());
  for (const auto& [id, count] : counts) {
    piece.frequencies.ids.push_back(id);
    piece.frequencies.counts.push_back(count);
  }
}

Piece PieceMaker::of_concept(const Concept& concept_text) const {
  Piece piece;
  add_sentences(concept_text.sentences, piece);
  for (const auto* task : tasks::all_tasks()) task->of_concept(concept_text, making_, piece.probes);
  const auto held_out = held_out_paragraphs(concept_text, options_.held_out_paragraphs);
  const auto trained = concept_text.paragraphs.size() - held_out.size();
  for (const auto& paragraph : std::span(concept_text.paragraphs).first(trained))
    piece.paragraphs.push_back(prompts_.with_prefix(paragraph));
  return piece;
}

Piece PieceMaker::of_shared(const SharedText& shared) const {
  Piece piece;
  add_sentences(shared.neutral, piece);
  for (const auto* task : tasks::all_tasks()) task->of_shared(shared, making_, piece.probes);
  return piece;
}

}  // namespace quench::corpus
