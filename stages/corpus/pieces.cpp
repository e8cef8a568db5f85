#include "stages/corpus/pieces.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "cluster/error.hpp"
#include "cluster/hash.hpp"
#include "cluster/random.hpp"

namespace quench::corpus {
namespace {

constexpr std::size_t longest_text = 256;  // tokens of a text probe, prefix included

const model::ChatTemplate* template_for(const Inputs& inputs, const Options& options) {
  if (options.prompt_style == "plain") return nullptr;
  if (options.prompt_style == "chat" && !inputs.chat)
    throw ConfigError(
        "corpus.prompt_style: 'chat', but the model has no chat template; use auto or plain");
  return inputs.chat ? &*inputs.chat : nullptr;
}

// Methods 7.1.
std::string lettered_text(const std::string& question, const std::vector<std::string>& options) {
  std::string text = "Choose the single best answer.\nQuestion: " + question + "\n\nChoices:\n";
  for (std::size_t i = 0; i < options.size(); ++i)
    text += std::string(1, static_cast<char>('A' + i)) + ". " + options[i] + "\n";
  return text + "\nAnswer only with one letter (A, B, C, or D) and no formatting.";
}

Probe make_probe(ProbeKind kind, Subset subset, Split split) {
  Probe probe;
  probe.kind = kind;
  probe.subset = subset;
  probe.split = split;
  return probe;
}

std::string open_text(const std::string& question) { return "Question: " + question + "\nAnswer:"; }

}  // namespace

PieceMaker::PieceMaker(const Inputs& inputs, const Options& options)
    : tokenizer_(*inputs.tokenizer), chat_(template_for(inputs, options)), options_(options) {
  identity_ = cluster::Sha256()
                  .field(inputs.inputs_hash)
                  .field(chat_ == nullptr ? "plain" : "chat")
                  .field(options.letter ? "letter" : "")
                  .field(options.open ? "open" : "")
                  .hex();
}

PieceMaker::Tokens PieceMaker::with_prefix(const std::string& text) const {
  Tokens tokens = tokenizer_.special_prefix();
  const Tokens ids = tokenizer_.encode(text);
  tokens.insert(tokens.end(), ids.begin(), ids.end());
  return tokens;
}

PieceMaker::Tokens PieceMaker::prompt(const std::string& text) const {
  return chat_ == nullptr ? with_prefix(text) : chat_->encode_user_turn(tokenizer_, text);
}

PieceMaker::Tokens PieceMaker::continuation(const std::string& text) const {
  Tokens ids = tokenizer_.encode(chat_ == nullptr ? " " + text : text);
  if (ids.empty()) throw DataError("option '" + text + "': the tokenizer makes no token of it");
  return ids;
}

Probe PieceMaker::choice_probe(const Question& question, Subset subset) const {
  Probe probe = make_probe(ProbeKind::choice, subset, question.split);
  probe.context = prompt(open_text(question.question));
  for (const auto& option : question.options) probe.continuations.push_back(continuation(option));
  probe.correct = static_cast<std::int32_t>(std::ranges::find(question.options, question.answer) -
                                            question.options.begin());
  return probe;
}

Probe PieceMaker::letter_probe(const Question& question, Subset subset,
                               const std::string& key) const {
  Probe probe = make_probe(ProbeKind::letter, subset, question.split);
  const cluster::KeyedRandom random(0, "corpus.letters/" + key + "/" + question.question);
  std::vector<std::string> shuffled;
  for (const auto i : random.permutation(static_cast<std::int64_t>(question.options.size()))) {
    if (question.options[i] == question.answer)
      probe.correct = static_cast<std::int32_t>(shuffled.size());
    shuffled.push_back(question.options[i]);
  }
  const auto text = lettered_text(question.question, shuffled);
  probe.context = prompt(chat_ == nullptr ? text + "\n\nAnswer:" : text);
  for (const char* letter : {"A", "B", "C", "D"})
    probe.continuations.push_back(continuation(letter));
  return probe;
}

Probe PieceMaker::open_probe(const Question& question, Subset subset) const {
  Probe probe = make_probe(ProbeKind::open, subset, question.split);
  probe.context = prompt(open_text(question.question));
  probe.accepted = question.accepted;
  return probe;
}

void PieceMaker::add_text_probe(const std::string& text, Subset subset,
                                std::vector<Probe>& probes) const {
  Tokens tokens = with_prefix(text);
  tokens.resize(std::min(tokens.size(), longest_text));
  const auto context = std::max<std::size_t>(tokenizer_.special_prefix().size(), 1);
  if (tokens.size() <= context) return;  // nothing is left to score
  const auto cut = tokens.begin() + static_cast<std::ptrdiff_t>(context);
  Probe probe = make_probe(ProbeKind::text, subset, Split::test);
  probe.context.assign(tokens.begin(), cut);
  probe.continuations.emplace_back(cut, tokens.end());
  probes.push_back(std::move(probe));
}

void PieceMaker::add_question(const Question& question, Subset subset, const std::string& key,
                              std::vector<Probe>& probes) const {
  probes.push_back(choice_probe(question, subset));
  if (question.split == Split::train) return;
  if (options_.letter) probes.push_back(letter_probe(question, subset, key));
  if (options_.open && subset != Subset::general) probes.push_back(open_probe(question, subset));
}

Probe PieceMaker::instruction_probe(const Instruction& instruction) const {
  Probe probe = make_probe(ProbeKind::instruction, Subset::general, instruction.split);
  probe.context = prompt(chat_ == nullptr ? instruction.text + "\n" : instruction.text);
  return probe;
}

void PieceMaker::add_sentences(const std::vector<std::string>& sentences, Piece& piece) const {
  std::map<std::int32_t, std::int32_t> counts;
  for (const auto& sentence : sentences) {
    const Tokens& ids = piece.sentences.emplace_back(tokenizer_.encode(sentence));
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
  for (const auto& question : concept_text.own)
    add_question(question, Subset::own, concept_text.hash, piece.probes);
  for (const auto& question : concept_text.similar)
    add_question(question, Subset::similar, concept_text.hash, piece.probes);
  const auto& paragraphs = concept_text.paragraphs;
  const auto trained =
      std::ssize(paragraphs) - std::min(options_.held_out_paragraphs, std::ssize(paragraphs) / 3);
  for (std::int64_t i = 0; i < std::ssize(paragraphs); ++i) {
    if (i < trained) {
      piece.paragraphs.push_back(with_prefix(paragraphs[i]));
    } else {
      add_text_probe(paragraphs[i], Subset::own, piece.probes);
    }
  }
  return piece;
}

Piece PieceMaker::of_shared(const SharedText& shared) const {
  Piece piece;
  add_sentences(shared.neutral, piece);
  for (const auto& question : shared.general)
    add_question(question, Subset::general, "general", piece.probes);
  for (const auto& text : shared.neutral) add_text_probe(text, Subset::general, piece.probes);
  for (const auto& instruction : shared.instructions)
    piece.probes.push_back(instruction_probe(instruction));
  return piece;
}

}  // namespace quench::corpus
