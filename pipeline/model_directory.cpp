#include "pipeline/model_directory.hpp"

#include <nlohmann/json.hpp>
#include <set>

#include "cluster/collectives.hpp"
#include "cluster/error.hpp"
#include "cluster/hash.hpp"
#include "model/files.hpp"

namespace quench::pipeline {

namespace {

void check_vocabulary(const std::filesystem::path& path, const model::ModelConfig& config,
                      const model::Tokenizer& tokenizer) {
  if (tokenizer.vocab_size() <= config.vocab) return;
  throw DataError((path / "tokenizer.json").string() + ": has ids up to " +
                  std::to_string(tokenizer.vocab_size() - 1) +
                  ", but config.json's vocab_size is " + std::to_string(config.vocab) +
                  "; the tokenizer belongs to another model");
}

}  // namespace

ModelDirectory open_model(const std::filesystem::path& path) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(path, ignored)) {
    throw DataError(path.string() + ": is no model directory");
  }
  auto config = model::read_config(path);
  auto checkpoint = model::Checkpoint::open(path);
  model::settle(config, checkpoint);
  model::check_tensors(config, checkpoint);
  auto tokenizer = model::Tokenizer::from_file(path / "tokenizer.json");
  check_vocabulary(path, config, tokenizer);
  std::optional<model::ChatTemplate> chat;
  std::string chat_problem;
  try {
    chat = model::ChatTemplate::detect(path, tokenizer);
  } catch (const model::UnsupportedTemplate& error) {
    chat_problem = error.what();
  }
  return {path,
          std::move(config),
          std::move(checkpoint),
          std::move(tokenizer),
          std::move(chat),
          std::move(chat_problem)};
}

std::map<std::string, std::string> hash_model_files(cluster::Communicator& world,
                                                    const ModelDirectory& model) {
  std::string text;
  cluster::agree(world, [&] {
    if (world.rank() != 0) return;
    std::set<std::filesystem::path> files = {model.path / "config.json",
                                             model.path / "tokenizer.json"};
    for (const auto& name :
         {"generation_config.json", "tokenizer_config.json", "chat_template.jinja"}) {
      if (model::is_there(model.path / name)) files.insert(model.path / name);
    }
    for (const auto& [name, entry] : model.checkpoint.entries()) files.insert(entry.file);
    nlohmann::json hashes;
    for (const auto& file : files) hashes[file.filename().string()] = cluster::sha256_file(file);
    text = hashes.dump();
  });
  return nlohmann::json::parse(cluster::broadcast_string(world, 0, text))
      .get<std::map<std::string, std::string>>();
}

}  // namespace quench::pipeline
