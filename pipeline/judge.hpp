#pragma once

#include <string>
#include <vector>

#include "cluster/task_runner.hpp"
#include "model/transformer.hpp"
#include "pipeline/configuration.hpp"
#include "pipeline/inputs.hpp"
#include "stages/batch_format.hpp"

namespace quench::pipeline {

// Whoever judges features and answers, asked in rounds of files under RUN/judge/: ROUND.jsonl holds
// the requests, ROUND.answers.jsonl the answers, both in the OpenAI batch format. What it is made
// from must outlive it.
class Judge {
 public:
  // `base` is the run's own model: asked where judge.model is the same.
  Judge(const Configuration& configuration, cluster::Context& context, const RunInputs& inputs,
        const model::Transformer& base);

  // Answers to rank 0's questions (the other ranks' are not looked at), by id; the same on all
  // ranks. Collective over the world. A round without answers is answered by judge.model; without
  // one it throws Error of code waiting, which says what to do. Answers that are missing or
  // malformed are counted and told.
  BatchContents ask(const std::string& round, const std::vector<BatchQuestion>& questions,
                    std::int64_t max_tokens);
  // Tells judges apart: another one is asked anew, by ids made with it.
  std::string identity() const { return configuration_.judge.name + hash_; }
  // SHA-256 of all answers that ask() read.
  const std::string& answers_hash() const { return answers_hash_; }

 private:
  // Rank 0. Those without an answer so far, which stand in ROUND.jsonl then. Where others stood
  // there, the answers to those go to ROUND.kept.jsonl: what was answered is not asked again.
  std::vector<BatchQuestion> open_questions(const std::string& round,
                                            const std::vector<BatchQuestion>& questions,
                                            std::int64_t max_tokens) const;
  // Throws Error of code waiting.
  [[noreturn]] void wait(const std::string& round, std::size_t count) const;
  std::string answer_here(const std::string& round, const std::vector<BatchQuestion>& questions,
                          std::int64_t max_tokens);
  std::filesystem::path file(const std::string& name) const {
    return context_.run_directory / "judge" / name;
  }

  const Configuration& configuration_;
  cluster::Context& context_;
  const RunInputs& inputs_;
  const model::Transformer& base_;
  std::string hash_;      // of judge.model's files; empty: none
  bool is_base_ = false;  // judge.model is the run's model
  std::string answers_hash_;
};

}  // namespace quench::pipeline
