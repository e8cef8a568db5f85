// tokenize, score, generate: a line in, a line out, in order. Under mpirun rank 0 reads and writes,
// all ranks work.
#include <ATen/Parallel.h>

#include <algorithm>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cluster/collectives.hpp"
#include "cluster/partition.hpp"
#include "model/generate.hpp"
#include "model/memory.hpp"
#include "model/score.hpp"
#include "model/transformer.hpp"
#include "model/weights.hpp"
#include "pipeline/collectively.hpp"
#include "pipeline/command_line.hpp"
#include "pipeline/inputs.hpp"
#include "pipeline/model_directory.hpp"

namespace quench::pipeline {

namespace po = boost::program_options;
using nlohmann::json;
using Lines = std::vector<std::string>;

namespace {

constexpr std::int64_t lines_a_block = 1024;  // read, worked on and written together

// Rank 0 reads up to a block of lines; everybody gets them. Empty at the end of input. Collective.
Lines read_block(cluster::Communicator& world) {
  json block = json::array();
  if (world.rank() == 0) {
    std::string line;
    while (std::ssize(block) < lines_a_block && std::getline(std::cin, line)) {
      block.push_back(json::binary({line.begin(), line.end()}));
    }
  }
  cluster::agree(world, [&] {
    if (world.rank() == 0 && (std::cin.bad() || std::ferror(stdin) != 0))
      throw DataError("standard input: cannot be read");
  });
  const auto bytes = json::to_cbor(block);
  const auto text = cluster::broadcast_string(world, 0, {bytes.begin(), bytes.end()});
  Lines lines;
  for (const auto& item : json::from_cbor(text)) {
    const auto& line = item.get_binary();
    lines.emplace_back(line.begin(), line.end());
  }
  return lines;
}

// Answers of all ranks, in order, on rank 0's standard output. Collective.
void write_block(cluster::Communicator& world, const Lines& answers) {
  std::string text;
  for (const auto& answer : answers) text += answer + "\n";
  const auto gathered = cluster::all_gather<char>(world, text);
  if (world.rank() != 0) return;
  std::cout.write(gathered.values.data(), std::ssize(gathered.values));
  std::cout.flush();
  if (!std::cout) throw DataError("standard output: cannot be written");
}

// What became of a rank's share of a block: an answer a line, or those of the lines before one
// that cannot be answered, and why.
struct Answers {
  Lines lines;
  std::string failure;
};

// Writes a block's answers up to its first line that has none; then throws on all ranks, naming
// that line. `lines_before` the block. Collective.
void finish_block(cluster::Communicator& world, cluster::Range mine, std::int64_t size,
                  std::int64_t lines_before, Answers answers) {
  const auto failed = answers.failure.empty() ? size : mine.begin + std::ssize(answers.lines);
  const auto end = cluster::all_reduce_value(world, failed, cluster::Op::min);
  answers.lines.resize(std::clamp<std::int64_t>(end - mine.begin, 0, std::ssize(answers.lines)));
  write_block(world, answers.lines);
  cluster::agree(world, [&] {
    if (end < size && failed == end)
      throw DataError("standard input: line " + std::to_string(lines_before + end + 1) + ": " +
                      answers.failure);
  });
}

// Maps blocks of lines to as many answers with `work`, which each rank calls for its share.
void map_lines(cluster::Communicator& world,
               const std::function<Answers(std::span<const std::string>)>& work) {
  std::int64_t lines_before = 0;
  for (auto lines = read_block(world); !lines.empty(); lines = read_block(world)) {
    const auto mine = cluster::rows_of(std::ssize(lines), world.size(), world.rank());
    Answers answers;
    cluster::agree(world, [&] {
      answers = work(std::span<const std::string>(lines).subspan(mine.begin, mine.size()));
    });
    finish_block(world, mine, std::ssize(lines), lines_before, std::move(answers));
    lines_before += std::ssize(lines);
  }
}

std::string error_line(const std::string& what) {
  return json{{"error", what}}.dump(-1, ' ', false, json::error_handler_t::replace);
}

struct LoadedForLines {
  ModelDirectory directory;
  model::SharedWeights weights;
  model::Transformer model;
  std::int64_t available;  // bytes that a rank may use for its rows
};

LoadedForLines load(cluster::Session& session, const std::string& path) {
  at::set_num_threads(session.topology().threads);
  std::optional<ModelDirectory> directory;
  cluster::agree(session.world(), [&] { directory = open_model(path); });
  check_model_memory(session, directory->config);
  auto weights = model::load_weights(session.node(), directory->config, directory->checkpoint);
  model::Transformer model(directory->config, weights.weights);
  const auto available = model::available_memory() / session.topology().ranks_on_node;
  return {std::move(*directory), std::move(weights), std::move(model), available};
}

// A field of a line, or an exception that becomes the line's error.
template <typename T>
T field(const json& item, const char* name) {
  if (!item.is_object() || !item.contains(name)) {
    throw std::invalid_argument(std::string("needs the field \"") + name + "\"");
  }
  constexpr bool is_text = std::is_same_v<T, std::string>;
  const auto& value = item.at(name);
  if (is_text ? !value.is_string() : !value.is_boolean())
    throw std::invalid_argument(std::string("the field \"") + name + "\" must be " +
                                (is_text ? "a text" : "true or false") + ", is " +
                                value.type_name());
  return value.get<T>();
}

struct Request {
  std::vector<std::int32_t> prompt;
  std::vector<std::int32_t> continuation;  // score
  std::int64_t max_new_tokens = 64;        // generate
  std::string error;
};

// Parses each line with `read`; a line that cannot be read keeps its error and is left out of the
// work.
std::vector<Request> read_requests(std::span<const std::string> lines,
                                   const std::function<Request(const json&)>& read) {
  std::vector<Request> requests;
  for (const auto& line : lines) {
    try {
      requests.push_back(read(json::parse(line)));
    } catch (const std::exception& error) {
      requests.push_back(
          {.prompt = {}, .continuation = {}, .max_new_tokens = 0, .error = error.what()});
    }
  }
  return requests;
}

// A row that does not fit is its line's error, not the end of all.
void check_row(const LoadedForLines& loaded, std::size_t tokens) {
  const auto needed =
      model::long_row_bytes(loaded.directory.config, static_cast<std::int64_t>(tokens));
  if (needed > loaded.available)
    throw std::invalid_argument(std::to_string(tokens) + " tokens need " +
                                model::format_bytes(needed) + ", " +
                                model::format_bytes(loaded.available) + " are available");
}

Lines score_lines(const LoadedForLines& loaded, std::span<const std::string> lines) {
  const auto& tokenizer = loaded.directory.tokenizer;
  const auto requests = read_requests(lines, [&](const json& item) {
    Request request;
    request.prompt = tokenizer.encode(field<std::string>(item, "context"), true);
    request.continuation = tokenizer.encode(field<std::string>(item, "continuation"));
    if (request.prompt.empty()) request.error = "no token precedes the continuation";
    check_row(loaded, request.prompt.size() + request.continuation.size());
    return request;
  });
  std::vector<model::ScoreItem> items;
  for (const auto& request : requests) {
    if (request.error.empty() && !request.continuation.empty()) {
      items.push_back({request.prompt, {request.continuation}});
    }
  }
  const auto scores = model::score(loaded.model, items);
  Lines answers;
  std::size_t next = 0;
  for (const auto& request : requests) {
    if (!request.error.empty()) {
      answers.push_back(error_line(request.error));
    } else if (request.continuation.empty()) {
      answers.push_back(R"({"logprob":0.0,"tokens":0})");
    } else {
      const auto& score = scores[next++][0];
      answers.push_back(json{{"logprob", score.logprob}, {"tokens", score.tokens}}.dump());
    }
  }
  return answers;
}

std::vector<std::int32_t> encode_prompt(const ModelDirectory& directory, const json& item) {
  const auto prompt = field<std::string>(item, "prompt");
  if (!item.contains("chat") || !field<bool>(item, "chat"))
    return directory.tokenizer.encode(prompt, true);
  if (!directory.chat)
    throw std::invalid_argument(
        "the model has no chat template that is known; use \"chat\": false");
  return directory.chat->encode_user_turn(directory.tokenizer, prompt);
}

std::int64_t max_new_tokens_of(const json& item) {
  constexpr std::int64_t usual = 64, most = 1'000'000;
  if (!item.contains("max_new_tokens")) return usual;
  const auto& value = item["max_new_tokens"];
  const auto number = value.is_number_integer() ? value.get<std::int64_t>() : 0;
  if (number < 1 || number > most)
    throw std::invalid_argument("max_new_tokens must be a whole number from 1 to " +
                                std::to_string(most));
  return number;
}

Lines generate_lines(const LoadedForLines& loaded, std::span<const std::string> lines) {
  const auto& tokenizer = loaded.directory.tokenizer;
  const auto requests = read_requests(lines, [&](const json& item) {
    Request request;
    request.prompt = encode_prompt(loaded.directory, item);
    request.max_new_tokens = max_new_tokens_of(item);
    if (request.prompt.empty()) request.error = "the prompt has no token";
    check_row(loaded, request.prompt.size());
    return request;
  });
  std::vector<std::vector<std::int32_t>> prompts;
  std::vector<std::int64_t> limits;
  for (const auto& request : requests) {
    if (!request.error.empty()) continue;
    prompts.push_back(request.prompt);
    limits.push_back(request.max_new_tokens);
  }
  const auto texts = model::generate_greedy(
      loaded.model, prompts, {.stop_ids = loaded.directory.config.stop_ids, .keep_stop = true},
      limits);
  Lines answers;
  std::size_t next = 0;
  for (const auto& request : requests) {
    if (!request.error.empty()) {
      answers.push_back(error_line(request.error));
      continue;
    }
    const auto& ids = texts[next++];
    const nlohmann::ordered_json answer = {{"text", tokenizer.decode(ids)}, {"ids", ids}};
    answers.push_back(answer.dump(-1, ' ', false, json::error_handler_t::replace));
  }
  return answers;
}

std::string ids_line(const std::vector<std::int32_t>& ids) {
  std::ostringstream line;
  for (std::size_t i = 0; i < ids.size(); ++i) line << (i == 0 ? "" : " ") << ids[i];
  return line.str();
}

// Ids of each line, up to the first that cannot be tokenized.
Answers tokenize_lines(const model::Tokenizer& tokenizer, bool special,
                       std::span<const std::string> lines) {
  Answers answers;
  try {
    for (const auto& text : lines)
      answers.lines.push_back(ids_line(tokenizer.encode(text, special)));
  } catch (const DataError& error) {
    answers.failure = error.what();
  }
  return answers;
}

CommandLine model_line(const char* usage, const char* explanation) {
  CommandLine line{usage, explanation, {}, {}};
  line.options.add_options()("model", po::value<std::string>()->required(), "model directory");
  return line;
}

using LineWork = Lines (*)(const LoadedForLines&, std::span<const std::string>);

ExitCode model_command(CommandLine line, const Words& words, LineWork work) {
  const auto values = line.parse(words);
  if (!values) return ExitCode::done;
  cluster::Session session(cluster::SessionOptions{});
  return collectively(session, [&] {
    const auto loaded = load(session, (*values)["model"].as<std::string>());
    map_lines(session.world(), [&](auto lines) { return Answers{work(loaded, lines), ""}; });
    return ExitCode::done;
  });
}

}  // namespace

ExitCode tokenize_command(const Words& words) {
  auto line =
      model_line("quench tokenize --model DIR < text",
                 "Token ids of each line, separated by spaces. No special tokens are added\n"
                 "(--special adds what the tokenizer puts round a text, such as BOS).");
  line.options.add_options()("special", "add special tokens as the model wants them");
  const auto values = line.parse(words);
  if (!values) return ExitCode::done;
  const std::filesystem::path path = (*values)["model"].as<std::string>();
  const bool special = values->contains("special");
  cluster::Session session(cluster::SessionOptions{});
  return collectively(session, [&] {
    std::optional<model::Tokenizer> tokenizer;
    cluster::agree(session.world(),
                   [&] { tokenizer = model::Tokenizer::from_file(path / "tokenizer.json"); });
    map_lines(session.world(),
              [&](auto lines) { return tokenize_lines(*tokenizer, special, lines); });
    return ExitCode::done;
  });
}

ExitCode score_command(const Words& words) {
  return model_command(
      model_line(
          "quench score --model DIR < items.jsonl",
          "In, a line each: {\"context\": \"...\", \"continuation\": \"...\"}\n"
          "Out, in the same order: {\"logprob\": sum of log-probabilities, \"tokens\": count}\n"
          "The context gets the tokenizer's special tokens; the continuation's tokens are those "
          "of\n"
          "its own text. A line that cannot be answered gives {\"error\": \"...\"}."),
      words, score_lines);
}

ExitCode generate_command(const Words& words) {
  return model_command(
      model_line("quench generate --model DIR < prompts.jsonl",
                 "In, a line each: {\"prompt\": \"...\", \"max_new_tokens\": 64, \"chat\": false}\n"
                 "Out, in the same order: {\"text\": \"...\", \"ids\": [...]}, greedy; ids end "
                 "with the stop\n"
                 "token where one was reached. \"chat\": true wraps the prompt as a user's turn."),
      words, generate_lines);
}

}  // namespace quench::pipeline
