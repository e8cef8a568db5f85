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
#include "stages/batch_format.hpp"

namespace quench::pipeline {

using nlohmann::json;
using selection::Question;

namespace {

constexpr std::int64_t description_tokens = 64, membership_tokens = 48;
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

// Collective. The texts of all ranks, in rank order.
json gather_lists(cluster::Communicator& comm, const json& own) {
  const auto text = own.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
  const auto all = cluster::all_gather<char>(comm, text).values;
  std::istringstream lines(std::string(all.begin(), all.end()));
  json joined = json::array();
  for (std::string line; std::getline(lines, line);)
    for (auto& item : json::parse(line)) joined.push_back(std::move(item));
  return joined;
}

// The answers of a model to some questions, in order. Collective over the group, whose ranks share
// them out.
json generate(const model::Transformer& model, const ModelDirectory& directory,
              const model::GenerateOptions& options, std::span<const Question> questions,
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
  judge_hash_ = hash_of_files(inputs.identity, "judge/");
  is_base_ = judge_hash_ == hash_of_files(inputs.identity, "model/");
}

std::vector<selection::Candidate> Judge::gather_candidates(const selection::Inputs& inputs) {
  auto& world = context_.world();
  json own = json::array();
  cluster::agree(world, [&] {
    const auto mine = cluster::rows_of(inputs.concepts, world.size(), world.rank());
    for (auto c = mine.begin; c < mine.end; ++c)
      for (const auto& candidate : selection::judge_candidates(inputs, configuration_.selection, c))
        own.push_back({candidate.concept_index, candidate.feature, candidate.tokens});
  });
  std::vector<selection::Candidate> all;
  for (const auto& item : gather_lists(world, own)) all.push_back({item[0], item[1], item[2]});
  return all;
}

std::vector<std::vector<selection::Judgement>> Judge::ask(const selection::Inputs& inputs) {
  const auto candidates = gather_candidates(inputs);
  const selection::Questioner questioner(configuration_.judge.name + judge_hash_);
  std::vector<Question> describe, membership;
  for (const auto& candidate : candidates)
    describe.push_back(
        questioner.describe(candidate, inputs.concept_hash(candidate.concept_index)));
  auto answers = round("describe", describe, description_tokens);
  std::vector<std::optional<std::string>> descriptions;
  std::vector<std::size_t> places;  // of candidates, in `membership`
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const auto found = answers.find(describe[i].id);
    descriptions.push_back(found == answers.end() ? std::nullopt
                                                  : selection::description_of(found->second));
    places.push_back(membership.size());
    const auto c = candidates[i].concept_index;
    if (descriptions[i])
      membership.push_back(questioner.membership(candidates[i], inputs.concept_hash(c),
                                                 inputs.names(c).front(), *descriptions[i]));
  }
  answers = round("membership", membership, membership_tokens);
  std::vector<std::vector<selection::Judgement>> judged(inputs.concepts);
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    auto& of_concept = judged[candidates[i].concept_index];
    of_concept.resize(std::max<std::size_t>(of_concept.size(), candidates[i].feature + 1));
    auto& judgement = of_concept[candidates[i].feature];
    judgement.state = selection::Judged::missing;
    if (!descriptions[i]) continue;
    judgement.description = *descriptions[i];
    const auto found = answers.find(membership[places[i]].id);
    if (found == answers.end()) continue;
    const auto said = selection::membership_of(found->second);
    if (!said) continue;
    judgement.state = said->is_member ? selection::Judged::yes : selection::Judged::no;
    judgement.confidence = said->confidence;
  }
  return judged;
}

std::string Judge::read_answers(const std::string& name,
                                const std::vector<Question>& questions) const {
  std::vector<std::string> ids;
  for (const auto& question : questions) ids.push_back(question.id);
  return read_batch_answers(file(name + ".answers.jsonl"), ids, name + ".jsonl");
}

Judge::Contents Judge::round(const std::string& name, const std::vector<Question>& questions,
                             std::int64_t max_tokens) {
  if (questions.empty()) return {};
  auto& world = context_.world();
  std::string text;
  cluster::agree(world, [&] {
    if (!context_.is_root()) return;
    std::error_code code;
    std::filesystem::create_directories(file(""), code);
    std::string requests;
    for (const auto& question : questions)
      requests +=
          batch_request(question.id, configuration_.judge.name, question.prompt, max_tokens) + "\n";
    if (read_text(file(name + ".jsonl")) != requests)
      write_atomically(file(name + ".jsonl"), requests);
    text = read_answers(name, questions);
    if (!text.empty() || inputs_.judge) return;
    throw Error(ExitCode::waiting,
                std::to_string(questions.size()) + " questions for the judge are in " +
                    file(name + ".jsonl").string() + " (OpenAI batch format); have them answered " +
                    "by a service or by vLLM (vllm run-batch -i " + name + ".jsonl -o " + name +
                    ".answers.jsonl --model MODEL), put the answers into " +
                    file(name + ".answers.jsonl").string() +
                    ", and give the same command again; or name a local model (judge.model, with "
                    "--accept-changes)");
  });
  text = cluster::broadcast_string(world, 0, text);
  if (text.empty()) text = answer_here(name, questions, max_tokens);
  answers_hash_ = cluster::Sha256().field(answers_hash_).field(text).hex();
  auto answers = parse_batch_answers(text);
  if (context_.is_root()) {
    const auto answered = std::ranges::count_if(
        questions, [&](const auto& question) { return answers.contents.contains(question.id); });
    cluster::log_info("judge: " + name + ": " + std::to_string(answered) + " of " +
                      std::to_string(questions.size()) + " questions answered, " +
                      std::to_string(answers.malformed) + " malformed lines");
  }
  return std::move(answers.contents);
}

std::string Judge::answer_here(const std::string& name, const std::vector<Question>& questions,
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
  const std::span<const Question> all(questions);
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
      context_, "judge-" + name, tasks, [&](std::int64_t i, cluster::Communicator& group) {
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
    if (context_.is_root()) write_atomically(file(name + ".answers.jsonl"), text);
  });
  cluster::remove_journals(context_, "judge-" + name);
  return text;
}

}  // namespace quench::pipeline
