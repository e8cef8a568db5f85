#pragma once

#include <string>
#include <vector>

#include "cluster/task_runner.hpp"
#include "model/transformer.hpp"
#include "pipeline/configuration.hpp"
#include "pipeline/inputs.hpp"
#include "stages/selection/judge.hpp"
#include "stages/selection/selection.hpp"

namespace quench::pipeline {

// Asks a judge which features are a concept's own, in two rounds of files under RUN/judge/:
// ROUND.jsonl holds the requests, ROUND.answers.jsonl the answers, both in the OpenAI batch format;
// rounds are describe and membership, whose questions need the descriptions. What it is made from
// must outlive it.
class Judge {
 public:
  // `base` is the run's own model: asked where judge.model is the same.
  Judge(const Configuration& configuration, cluster::Context& context, const RunInputs& inputs,
        const model::Transformer& base);

  // Judgements of every concept's features; the same on all ranks. Collective over the world. A
  // round without answers is answered by judge.model; without one it ends the run: throws Error of
  // code waiting, which says what to do. Answers that are missing or malformed are counted and
  // told.
  std::vector<std::vector<selection::Judgement>> ask(const selection::Inputs& inputs);
  // SHA-256 of all answers that ask() read.
  const std::string& answers_hash() const { return answers_hash_; }

 private:
  using Contents = std::map<std::string, std::string>;  // by custom_id
  Contents round(const std::string& name, const std::vector<selection::Question>& questions,
                 std::int64_t max_tokens);
  // The answers file's text; empty when it is missing or answers none of the questions.
  std::string read_answers(const std::string& name,
                           const std::vector<selection::Question>& questions) const;
  std::string answer_here(const std::string& name,
                          const std::vector<selection::Question>& questions,
                          std::int64_t max_tokens);
  std::vector<selection::Candidate> gather_candidates(const selection::Inputs& inputs);
  std::filesystem::path file(const std::string& name) const {
    return context_.run_directory / "judge" / name;
  }

  const Configuration& configuration_;
  cluster::Context& context_;
  const RunInputs& inputs_;
  const model::Transformer& base_;
  std::string judge_hash_;  // of judge.model's files; empty: none
  bool is_base_ = false;    // judge.model is the run's model
  std::string answers_hash_;
};

}  // namespace quench::pipeline
