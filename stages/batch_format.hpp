#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

// Questions to a language model and its answers as JSON Lines in the OpenAI batch format, which
// vLLM's run-batch and the hosted services read and write. Local.
namespace quench {

// A question as the user's only turn; the id (custom_id) tells its answer.
struct BatchQuestion {
  std::string id, prompt;
};
// What was answered, by id.
using BatchContents = std::map<std::string, std::string>;

// A line of a request file and of an answers' file, without line break. Broken UTF-8 is replaced.
std::string batch_request(const std::string& id, const std::string& model,
                          const std::string& prompt, std::int64_t max_tokens);
std::string batch_answer(const std::string& id, const std::string& model,
                         const std::string& content);

// Contents of answers by custom_id. Lines that are no good answer (not JSON, another status than
// 200, an error, no content) are left out and counted; the first good answer to a question holds.
struct BatchAnswers {
  BatchContents contents;
  std::int64_t malformed = 0;
};
BatchAnswers parse_batch_answers(const std::string& text);

// The text of an answers' file with a good answer for at least one of these ids; else empty, with a
// warning where there is something of that name: an empty or foreign file, one of errors alone, a
// directory.
// `questions` says which questions in the warning.
std::string read_batch_answers(const std::filesystem::path& file,
                               const std::vector<std::string>& ids, const std::string& questions);

}  // namespace quench
