#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "stages/types.hpp"

// What the records of a catalog hold (docs/catalog.md): read by the corpus stage, asked by tasks.
namespace quench::corpus {

struct Question {
  std::string question, answer;
  std::vector<std::string> options;   // four, the answer among them
  std::vector<std::string> accepted;  // answers to the open form that count as right; never empty
  Split split = Split::train;
  std::string subject;  // of general questions in MMLU's layout; may be empty
  // Of the answer among the options, where MMLU's layout names it and others may be equal to it.
  std::optional<std::int64_t> place = {};

  std::int64_t correct() const {
    return place ? *place : std::ranges::find(options, answer) - options.begin();
  }
};

struct Concept {
  std::string name;  // white space at its ends removed
  std::string hash;  // SHA-256 of the record's canonical JSON: its identity
  std::vector<std::string> aliases;
  std::vector<std::string> sentences;
  std::vector<Question> own, similar;  // train before test
  std::vector<std::string> paragraphs;
};

// Of a concept's paragraphs the last ones, `most` or a third of them, are measured and never
// trained on: how many, and which.
inline std::int64_t held_out_paragraphs(std::int64_t paragraphs, std::int64_t most) {
  return std::min(most, paragraphs / 3);
}
inline std::span<const std::string> held_out_paragraphs(const Concept& record, std::int64_t most) {
  const auto total = static_cast<std::int64_t>(record.paragraphs.size());
  return std::span(record.paragraphs)
      .last(static_cast<std::size_t>(held_out_paragraphs(total, most)));
}

struct Instruction {
  std::string text;
  Split split = Split::train;
};

// What all concepts share.
struct SharedText {
  std::vector<std::string> neutral;
  std::vector<Question> general;
  std::vector<Question> examples;  // general questions that are shown with their answers
  std::vector<Instruction> instructions;
  std::string hash;  // SHA-256 of the canonical JSON of all records
};

}  // namespace quench::corpus
