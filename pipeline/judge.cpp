#include "pipeline/judge.hpp"

#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "cluster/collectives.hpp"
#include "cluster/hash.hpp"
#include "cluster/log.hpp"
#include "model/generate.hpp"
#include "model/weights.hpp"
#include "pipeline/gather_lists.hpp"

namespace quench::pipeline {

using nlohmann::json;

namespace {

constexpr std::int64_t questions_a_task = 32;

std::string hash_of_files(const RunIdentity& identity, const std::string& prefix) {
  cluster::Sha256 hash;
  for (const auto& [key, value] : identity.inputs)
    if (key.starts_with(prefix)) hash.field(key.substr(prefix.size())).field(value);
  return hash.hex();
}

std::string read_text(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  std::ostringstream text;
  if (stream) text << stream.rdbuf();
  return text.str();
}

std::vector<std::string> ids_of(const std::vector<BatchQuestion>& questions) {
  std::vector<std::string> ids;
  for (const auto& question : questions) ids.push_back(question.id);
  return ids;
}

// Those that have no good answer.
std::vector<BatchQuestion> without_answers(const std::vector<BatchQuestion>& questions,
                                           const std::string& answers) {
  const auto contents = parse_batch_answers(answers).contents;
  std::vector<BatchQuestion> open;
  for (const auto& question : questions)
    if (!contents.contains(question.id)) open.push_back(question);
  return open;
}

// Collective. Rank 0's questions to everybody.
std::vector<BatchQuestion> broadcast(cluster::Communicator& world,
                                     const std::vector<BatchQuestion>& questions) {
  json list = json::array();
  if (world.rank() == 0)
    for (const auto& question : questions) list.push_back({question.id, question.prompt});
  std::vector<BatchQuestion> all;
  for (const auto& item : gather_lists(world, list)) all.push_back({item[0], item[1]});
  return all;
}

// The answers of a model to some questions, in order. Collective over the group, whose ranks share
// them out.
json generate(const model::Transformer& model, const ModelDirectory& directory,
              const model::GenerateOptions& options, std::span<const BatchQuestion> questions,
              cluster::Communicator& group) {
  const auto mine = cluster::rows_of(std::ssize(questions), group.size(), group.rank());
  json contents = json::array();
  cluster::agree(group, [&] {
    std::vector<std::vector<std::int32_t>> prompts;
    for (const auto& question : questions.subspan(mine.begin, mine.size()))
      prompts.push_back(directory.chat
                            ? directory.chat->encode_user_turn(directory.tokenizer, question.prompt)
                            : directory.tokenizer.encode(question.prompt, true));
    for (const auto& ids : model::generate_greedy(model, prompts, options))
      contents.push_back(directory.tokenizer.decode(ids));
  });
  return gather_lists(group, contents);
}

}  // namespace

Judge::Judge(const Configuration& configuration, cluster::Context& context, const RunInputs& inputs,
             const model::Transformer& base)
    : configuration_(configuration), context_(context), inputs_(inputs), base_(base) {
  if (!inputs.judge) return;
  hash_ = hash_of_files(inputs.identity, "judge/");
  is_base_ = hash_ == hash_of_files(inputs.identity, "model/");
}

void Judge::wait(const std::string& round, std::size_t count) const {
  throw Error(ExitCode::waiting,
              std::to_string(count) + " questions for the judge are in " +
                  file(round + ".jsonl").string() + " (OpenAI batch format); have them answered " +
                  "by a service or by vLLM (vllm run-batch -i " + round + ".jsonl -o " + round +
                  ".answers.jsonl --model MODEL --served-model-name " + configuration_.judge.name +
                  "), put the answers into " + file(round + ".answers.jsonl").string() +
                  ", and give the same command again; or name a local model (judge.model, with "
                  "--accept-changes)");
}

std::vector<BatchQuestion> Judge::open_questions(const std::string& round,
                                                 const std::vector<BatchQuestion>& questions,
                                                 std::int64_t max_tokens) const {
  const auto requests_of = [&](const std::vector<BatchQuestion>& list) {
    std::string text;
    for (const auto& question : list)
      text +=
          batch_request(question.id, configuration_.judge.name, question.prompt, max_tokens) + "\n";
    return text;
  };
  std::error_code code;
  std::filesystem::create_directories(file(""), code);
  const auto answers = file(round + ".answers.jsonl"), kept = file(round + ".kept.jsonl");
  auto open = without_answers(questions, read_text(kept));
  const auto asked = read_text(file(round + ".jsonl"));
  if (open.empty() || asked == requests_of(open)) return open;
  // The questions are others than before: what was answered of those stays so.
  if (const auto given = read_text(answers); !asked.empty() && !given.empty()) {
    write_atomically(kept, given + "\n" + read_text(kept));
    std::filesystem::remove(answers);
    open = without_answers(questions, read_text(kept));
  }
  if (!open.empty()) write_atomically(file(round + ".jsonl"), requests_of(open));
  return open;
}

BatchContents Judge::ask(const std::string& round, const std::vector<BatchQuestion>& questions,
                         std::int64_t max_tokens) {
  auto& world = context_.world();
  bool any = false, here = false;
  std::string text, earlier;
  std::vector<BatchQuestion> open;
  cluster::agree(world, [&] {
    if (!context_.is_root() || questions.empty()) return;
    any = true;
    open = open_questions(round, questions, max_tokens);
    text = read_batch_answers(file(round + ".answers.jsonl"), ids_of(questions), round + ".jsonl");
    earlier = read_text(file(round + ".kept.jsonl"));
    here = text.empty() && !open.empty();
    if (here && !inputs_.judge) wait(round, open.size());
  });
  if (!cluster::any_of(world, any)) return {};
  text = cluster::broadcast_string(world, 0, text);
  if (cluster::any_of(world, here)) text = answer_here(round, broadcast(world, open), max_tokens);
  text += "\n" + cluster::broadcast_string(world, 0, earlier);
  answers_hash_ = cluster::Sha256().field(answers_hash_).field(text).hex();
  auto answers = parse_batch_answers(text);
  if (context_.is_root()) {
    const auto answered = std::ranges::count_if(
        questions, [&](const auto& question) { return answers.contents.contains(question.id); });
    cluster::log_info("judge: " + round + ": " + std::to_string(answered) + " of " +
                      std::to_string(questions.size()) + " questions answered, " +
                      std::to_string(answers.malformed) + " malformed lines");
  }
  return std::move(answers.contents);
}

std::string Judge::answer_here(const std::string& round,
                               const std::vector<BatchQuestion>& questions,
                               std::int64_t max_tokens) {
  std::optional<model::SharedWeights> weights;
  std::optional<model::Transformer> loaded;
  if (!is_base_) {
    weights = model::load_weights(context_.session.node(), inputs_.judge->config,
                                  inputs_.judge->checkpoint);
    loaded.emplace(inputs_.judge->config, weights->weights);
  }
  const model::GenerateOptions options{.max_new_tokens = max_tokens,
                                       .stop_ids = inputs_.judge->config.stop_ids,
                                       .batch = configuration_.judge.batch};
  const std::span<const BatchQuestion> all(questions);
  const auto part = [&](std::int64_t task) {
    const auto begin = static_cast<std::size_t>(task * questions_a_task);
    return all.subspan(begin, std::min<std::size_t>(questions_a_task, all.size() - begin));
  };
  std::vector<cluster::Task> tasks;
  for (std::int64_t i = 0; i * questions_a_task < std::ssize(questions); ++i) {
    cluster::Sha256 key;
    for (const auto& question : part(i)) key.field(question.id);
    tasks.push_back({key.hex(), static_cast<double>(part(i).size())});
  }
  const auto results = cluster::run_tasks(
      context_, "judge-" + round, tasks, [&](std::int64_t i, cluster::Communicator& group) {
        return generate(loaded ? *loaded : base_, *inputs_.judge, options, part(i), group).dump();
      });
  std::string text;
  cluster::agree(context_.world(), [&] {
    for (std::int64_t i = 0; i < results.size(); ++i) {
      if (!results.failure(i).empty())
        throw DataError("judge: questions could not be answered: " + results.failure(i));
      const auto contents = json::parse(results.read(i));
      for (std::size_t q = 0; q < contents.size(); ++q)
        text += batch_answer(part(i)[q].id, configuration_.judge.name, contents[q]) + "\n";
    }
    if (!context_.is_root()) return;
    // Answers of another judge are kept aside.
    const auto answers = file(round + ".answers.jsonl");
    if (std::filesystem::exists(answers))
      std::filesystem::rename(answers, answers.string() + ".old");
    write_atomically(answers, text);
  });
  cluster::remove_journals(context_, "judge-" + round);
  return text;
}

}  // namespace quench::pipeline
