#pragma once

// Inside stages/corpus only: text to tokens, and what travels through the journals.
#include <string>
#include <string_view>
#include <vector>

#include "stages/corpus/corpus.hpp"
#include "stages/tasks/task.hpp"

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
  PieceMaker(const PieceMaker&) = delete;
  PieceMaker& operator=(const PieceMaker&) = delete;
  // Throw DataError for an option without tokens.
  Piece of_concept(const Concept& concept_text) const;
  Piece of_shared(const SharedText& shared) const;
  // Identity of everything but the text that decides a piece.
  const std::string& identity() const { return identity_; }

 private:
  // Tokenises the sentences and counts in how many of them each token occurs.
  void add_sentences(const std::vector<std::string>& sentences, Piece& piece) const;

  const model::Tokenizer& tokenizer_;
  const Options& options_;
  tasks::Prompts prompts_;
  tasks::Making making_;
  std::string identity_;
};

// CBOR.
std::string to_payload(const Piece& piece);
Piece from_payload(const std::string& payload);

}  // namespace quench::corpus
