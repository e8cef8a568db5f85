#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cluster/store.hpp"
#include "model/tokenizer.hpp"

namespace quench::report {

// Where the answers are; outlive what reads them.
struct AnswerFiles {
  const cluster::StoreReader& corpus;
  const cluster::StoreReader& base;        // baseline.h5
  const cluster::StoreReader& evaluation;  // the joint model's answers
  const model::Tokenizer& tokenizer;
};

// The answers of the untouched and of the joint erased model to the first test items that are
// answered freely: not chosen, so that they show what a reader would see. Of a concept without such
// questions, which options they find likeliest. Local.
class Examples {
 public:
  // most: items of each kind.
  Examples(const AnswerFiles& files, std::int64_t most);

  // [{"subset": "own" or "similar", "prompt", "accepted", "base", "erased": texts, "base_right",
  // "erased_right"}, ...], with "chosen": true where the texts are options. Hidden: without the
  // three texts that are answers.
  nlohmann::json of_concept(std::int64_t concept_index, bool hidden) const;
  // [{"prompt", "base", "erased"}, ...] of the instructions, which all concepts share.
  nlohmann::json of_instructions(bool hidden) const;

 private:
  struct Sort {
    std::uint8_t kind, subset, split;
  };
  std::vector<std::int64_t> first_of(std::int64_t piece, const Sort& sort, std::int64_t most) const;
  std::vector<std::string> prompts_of(const std::vector<std::int64_t>& probes) const;
  std::string prompt(std::int64_t probe) const;
  void add_answers(std::int64_t probe, nlohmann::json& to) const;
  void add_accepted(std::int64_t probe, nlohmann::json& to) const;
  void add_preferences(std::int64_t probe, nlohmann::json& to) const;

  AnswerFiles files_;
  std::int64_t most_;
  std::vector<std::int64_t> offsets_;
};

// The texts without the lines that all of them begin with, and end with: what a chat template puts
// around a turn. Fewer than two texts stay as they are.
std::vector<std::string> without_common_lines(const std::vector<std::string>& texts);

}  // namespace quench::report
