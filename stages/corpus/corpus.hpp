#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cluster/store.hpp"
#include "cluster/task_runner.hpp"
#include "model/chat_template.hpp"
#include "model/tokenizer.hpp"
#include "stages/corpus/catalog.hpp"
#include "stages/options.hpp"
#include "stages/schemas.hpp"
#include "stages/types.hpp"

// Stage corpus: text to tokens. Each concept's sentences, questions and paragraphs are tokenised
// once; later stages read ids only.
namespace quench::corpus {

inline constexpr std::int64_t schema = schemas::corpus;

struct Options {
  std::string prompt_style = "auto";                  // auto | chat | plain
  bool letter = true;                                 // make lettered questions
  bool open = true;                                   // make open questions
  std::vector<std::string> train_forms = {"choice"};  // train questions: choice, letter, open
  std::string letter_order = "keyed";                 // of lettered options: keyed | paper
  std::int64_t shots = 0;                             // examples before a general question
  std::int64_t held_out_paragraphs = 4;  // the last ones of a concept: measured, never trained on
  std::int64_t max_concepts = 0;         // the first so many; 0: all
  std::vector<std::string> concepts;     // only these names; empty: all
};
void describe(Options& options, OptionTable& table);  // keys corpus.*

// The concepts that the options ask for, in the catalog's order: those named, of them the first
// max_concepts. Throws ConfigError for names that the catalog lacks, each with the nearest one.
std::vector<ConceptEntry> choose_concepts(const std::vector<ConceptEntry>& index,
                                          const Options& options);

struct Inputs {
  std::filesystem::path catalog;
  std::vector<ConceptEntry> concepts;  // as chosen, in the catalog's order
  const SharedText* shared = nullptr;
  const model::Tokenizer* tokenizer = nullptr;
  std::optional<model::ChatTemplate> chat;  // of the model; nullopt: plain
  std::string inputs_hash;  // all that decides corpus.h5: catalog, tokenizer, template, options
  std::string run_id;
};

// Reads corpus.h5 (docs/file-formats.md); local, cheap to open, reads what is asked for.
class Corpus {
 public:
  // Throws DataError when the file is missing, incomplete or of another version.
  explicit Corpus(const std::filesystem::path& file);
  std::int64_t concepts() const { return static_cast<std::int64_t>(names_.size()); }
  const std::string& name(std::int64_t concept_index) const { return names_[concept_index]; }
  const std::string& hash(std::int64_t concept_index) const { return hashes_[concept_index]; }
  const std::vector<std::string>& aliases(std::int64_t concept_index) const {
    return aliases_[concept_index];
  }
  ConceptNames concept_names() const;  // of "the run"
  // Token ids of the concept's sentences, and of the neutral text's; none before them, and no
  // special tokens but those that the text itself spells.
  std::vector<std::vector<std::int32_t>> sentences(std::int64_t concept_index) const;
  std::vector<std::vector<std::int32_t>> neutral_sentences() const;
  DocumentFrequencies frequencies(std::int64_t concept_index) const;
  DocumentFrequencies neutral_frequencies() const;
  // Probes of one concept, task by task: choice, letter and open forms of its own and similar
  // questions (letter and open: split test, and train where train_forms asks for it), and its
  // held-out paragraphs as text (split test).
  std::vector<Probe> probes(std::int64_t concept_index) const;
  // Probes of everybody, subset general: questions (choice; letter as above), neutral text (split
  // test), instructions.
  std::vector<Probe> shared_probes() const;
  std::int64_t probe_count() const { return probe_offsets_.back(); }
  // Ids of the probes of concept c are [probe_offsets[c], probe_offsets[c + 1]); the shared ones
  // come last.
  const std::vector<std::int64_t>& probe_offsets() const { return probe_offsets_; }
  // Token ids of the concept's paragraphs for relearning (all but the held-out ones), no special
  // tokens but the tokenizer's prefix.
  std::vector<std::vector<std::int32_t>> paragraphs(std::int64_t concept_index) const;
  std::int64_t paragraph_count(std::int64_t concept_index) const {
    return paragraph_offsets_[concept_index + 1] - paragraph_offsets_[concept_index];
  }
  const std::string& inputs_hash() const { return store_.header().inputs_hash; }

 private:
  std::vector<Probe> read_probes(cluster::Range range) const;
  // The rows of a ragged dataset that belong to one piece.
  std::vector<std::vector<std::int32_t>> read_piece(const std::string& name,
                                                    const std::vector<std::int64_t>& offsets,
                                                    std::int64_t piece) const;
  cluster::StoreReader store_;
  std::vector<std::string> names_, hashes_;
  std::vector<std::vector<std::string>> aliases_;
  std::vector<std::int64_t> probe_offsets_, paragraph_offsets_, sentence_offsets_;
};

// Collective over the world. Tokenises the concepts as tasks and writes run_directory/corpus.h5.
// Throws ConfigError (chat prompts without a template), DataError (catalog changed, disk), Stopped.
Corpus run(const Inputs& inputs, const Options& options, cluster::Context& context);

}  // namespace quench::corpus
