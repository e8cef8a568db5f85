#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "cluster/communicator.hpp"
#include "model/chat_template.hpp"
#include "model/checkpoint.hpp"
#include "model/config.hpp"
#include "model/tokenizer.hpp"

namespace quench::pipeline {

// A model directory opened and checked, its weights not yet read.
struct ModelDirectory {
  std::filesystem::path path;
  model::ModelConfig config;
  model::Checkpoint checkpoint;
  model::Tokenizer tokenizer;
  std::optional<model::ChatTemplate> chat;
  std::string chat_problem;  // why a template that is there is not used; else empty
};

// Local. Throws DataError or ConfigError with everything that is wrong: config, tensors, tokenizer,
// vocabulary size.
ModelDirectory open_model(const std::filesystem::path& path);

// SHA-256 of each file that decides what a model is, by file name. Collective: rank 0 reads, the
// others receive.
std::map<std::string, std::string> hash_model_files(cluster::Communicator& world,
                                                    const ModelDirectory& model);

}  // namespace quench::pipeline
