#pragma once

#include <cstdint>
#include <map>
#include <string>

// Questions to a language model and its answers as JSON Lines in the OpenAI batch format, which
// vLLM's run-batch and the hosted services read and write. Local.
namespace quench {

// A line of a request file and of an answers' file, without line break. Broken UTF-8 is replaced.
std::string batch_request(const std::string& id, const std::string& model,
                          const std::string& prompt, std::int64_t max_tokens);
std::string batch_answer(const std::string& id, const std::string& model,
                         const std::string& content);

// Contents of answers by custom_id. Lines that are no good answer (not JSON, another status than
// 200, an error, no content) are left out and counted; the first good answer to a question holds.
struct BatchAnswers {
  std::map<std::string, std::string> contents;
  std::int64_t malformed = 0;
};
BatchAnswers parse_batch_answers(const std::string& text);

}  // namespace quench
