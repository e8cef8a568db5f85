#pragma once

// Inside stages/corpus only: text to tokens, and what travels through the journals.
#include <string>
#include <string_view>
#include <vector>

#include "stages/corpus/corpus.hpp"

namespace quench::corpus {

// What becomes of one concept, or of the shared text: one task of the stage.
struct Piece {
  std::vector<std::vector<std::int32_t>> sentences;   // the concept's, or the neutral text
  DocumentFrequencies frequencies;                    // of these
  std::vector<Probe> probes;                          // ids not yet given
  std::vector<std::vector<std::int32_t>> paragraphs;  // for relearning
};

// Makes pieces. Keeps references to the inputs.
class PieceMaker {
 public:
  // Throws ConfigError when chat prompts are asked of a model without a template.
  PieceMaker(const Inputs& inputs, const Options& options);
  // Throw DataError for an option without tokens.
  Piece of_concept(const Concept& concept_text) const;
  Piece of_shared(const SharedText& shared) const;
  // Identity of everything but the text that decides a piece.
  const std::string& identity() const { return identity_; }

 private:
  using Tokens = std::vector<std::int32_t>;
  Tokens prompt(const std::string& text) const;
  Tokens continuation(const std::string& text) const;
  Probe choice_probe(const Question& question, Subset subset) const;
  // `key`: what, beside the question, decides the options' order.
  Probe letter_probe(const Question& question, Subset subset, const std::string& key) const;
  Probe open_probe(const Question& question, Subset subset) const;
  void add_text_probe(const std::string& text, Subset subset, std::vector<Probe>& probes) const;
  void add_question(const Question& question, Subset subset, const std::string& key,
                    std::vector<Probe>& probes) const;
  Probe instruction_probe(const Instruction& instruction) const;
  Tokens with_prefix(const std::string& text) const;
  // Tokenises the sentences and counts in how many of them each token occurs.
  void add_sentences(const std::vector<std::string>& sentences, Piece& piece) const;

  const model::Tokenizer& tokenizer_;
  const model::ChatTemplate* chat_ = nullptr;  // null: plain prompts
  const Options& options_;
  std::string identity_;
};

// CBOR.
std::string to_payload(const Piece& piece);
Piece from_payload(const std::string& payload);

}  // namespace quench::corpus
