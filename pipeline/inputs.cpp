#include "pipeline/inputs.hpp"

#include <algorithm>
#include <optional>
#include <set>

#include "cluster/collectives.hpp"
#include "cluster/hash.hpp"
#include "cluster/log.hpp"
#include "cluster/node_memory.hpp"
#include "model/export.hpp"
#include "model/memory.hpp"
#include "model/score.hpp"
#include "pipeline/needs.hpp"
#include "stages/dictionary/initial_file.hpp"
#include "stages/selection/general.hpp"
#include "stages/selection/manual.hpp"

namespace quench::pipeline {

using nlohmann::json;

namespace {

json to_json(const std::vector<corpus::ConceptEntry>& entries) {
  json list = json::array();
  for (const auto& entry : entries) {
    list.push_back({entry.name, entry.hash, entry.aliases, entry.offset, entry.bytes,
                    entry.sentences, entry.questions, entry.paragraphs, entry.sentence_bytes,
                    entry.sensitive});
  }
  return list;
}

std::vector<corpus::ConceptEntry> entries_from(const json& list) {
  std::vector<corpus::ConceptEntry> entries;
  for (const auto& item : list) {
    entries.push_back(
        {item[0], item[1], item[2], item[3], item[4], item[5], item[6], item[7], item[8], item[9]});
  }
  return entries;
}

// Calls `open` and keeps what it throws among the problems, so that all of them are told at once.
template <typename Open>
void attempt(Problems& problems, const std::string& what, const Open& open) {
  try {
    open();
  } catch (const Error& error) {
    problems.add(what, error.what());
  } catch (const std::filesystem::filesystem_error& error) {
    problems.add(what, error.what());
  }
}

// The catalog's index is read once, by rank 0; every rank keeps the entries, nobody the records.
std::vector<corpus::ConceptEntry> open_catalog(cluster::Communicator& world,
                                               const Configuration& configuration,
                                               Problems& problems) {
  std::string index = "[]";
  if (world.rank() == 0) {
    attempt(problems, "run.catalog", [&] {
      const auto entries = corpus::index_catalog(configuration.run.catalog);
      index = to_json(corpus::choose_concepts(entries, configuration.corpus)).dump();
    });
  }
  return entries_from(json::parse(cluster::broadcast_string(world, 0, index)));
}

// selection.manual, checked whole.
std::vector<selection::Decision> open_manual(const Configuration& configuration,
                                             const std::vector<corpus::ConceptEntry>& concepts,
                                             std::int64_t vocab) {
  return selection::read_manual(
      configuration.selection.manual,
      {corpus::names_of(concepts, "the run"), configuration.dictionary.rank, vocab});
}

// What dictionaries start from.
void open_initial(const Configuration& configuration, const RunInputs& inputs, Problems& problems) {
  const auto& options = configuration.dictionary;
  if (options.init == "file")
    attempt(problems, "dictionary.init_file", [&] {
      const dictionary::InitialFile checked(options.init_file, options.rank,
                                            inputs.model.config.vocab);
    });
}

// What selection reads beside catalog and model.
void open_selection(const Configuration& configuration, RunInputs& inputs, Problems& problems) {
  const auto& options = configuration.selection;
  if (options.method == "manual")
    attempt(problems, "selection.manual", [&] {
      inputs.manual = open_manual(configuration, inputs.concepts, inputs.model.config.vocab);
    });
  if (configuration.has_local_judge())
    attempt(problems, "judge.model", [&] { inputs.judge = open_model(configuration.judge.model); });
  if (!options.frequencies.empty())
    attempt(problems, "selection.frequencies",
            [&] { selection::read_frequencies(options.frequencies); });
}

// Whether `path` is `folder` or lies in it.
bool is_within(const std::filesystem::path& path, const std::filesystem::path& folder) {
  const auto whole = [](const std::filesystem::path& p) {
    const auto canonical = std::filesystem::weakly_canonical(std::filesystem::absolute(p));
    return canonical.has_filename() ? canonical : canonical.parent_path();
  };
  const auto inner = whole(path), outer = whole(folder);
  return std::mismatch(inner.begin(), inner.end(), outer.begin(), outer.end()).second ==
         outer.end();
}

// Where the run writes: what cannot be used is better told now than after hours.
void check_places(const Configuration& configuration, Problems& problems) try {
  const auto& run = configuration.run;
  if (is_within(run.directory, run.model))
    problems.add("run.directory",
                 run.directory + ": is or lies in the model's directory; choose another one");
  if (run.export_to == "none") return;
  attempt(problems, "run.export_to", [&] {
    const auto out = run.export_to == "auto" ? std::filesystem::path(run.directory) / "model"
                                             : std::filesystem::path(run.export_to);
    model::check_export_target(run.model, out, true);
  });
} catch (const std::filesystem::filesystem_error& error) {
  problems.add("run.directory", error.what());
}

// Collective. Rank 0 reads.
std::string hash_file(cluster::Communicator& world, const std::filesystem::path& file) {
  std::string hash;
  cluster::agree(world, [&] {
    if (world.rank() == 0) hash = cluster::sha256_file(file);
  });
  return cluster::broadcast_string(world, 0, hash);
}

std::string hash_concepts(const std::vector<corpus::ConceptEntry>& concepts) {
  cluster::Sha256 hash;
  for (const auto& entry : concepts) hash.field(entry.hash);
  return hash.hex();
}

// Local. Memory in all, and room for what the node's ranks share.
void check_node(const cluster::Session& session, const model::MemoryEstimate& estimate) {
  const auto ranks = session.topology().ranks_on_node;
  model::check_memory(estimate, ranks, model::available_memory());
  if (ranks > 1) cluster::check_shared_room(cluster::shared_folder(), estimate.weights);
}

// Collective. Rank 0 reads.
TokenCounts count_tokens_of(cluster::Communicator& world, const Configuration& configuration,
                            const RunInputs& inputs) {
  TokenCounts counts;
  cluster::agree(world, [&] {
    if (world.rank() == 0)
      counts = count_tokens(configuration.run.catalog, inputs.model.tokenizer, inputs.concepts,
                            inputs.shared);
  });
  world.broadcast({&counts, sizeof counts}, 0);
  return counts;
}

// Collective.
void check_memory(cluster::Session& session, const Configuration& configuration,
                  const RunInputs& inputs) {
  const auto tokens = count_tokens_of(session.world(), configuration, inputs);
  cluster::agree(session.world(), [&] {
    const auto* judge = inputs.judge ? &inputs.judge->config : nullptr;
    const auto estimate =
        memory_needs(configuration, inputs.model.config, judge, session.world().size(),
                     inputs.concepts, inputs.shared, tokens);
    check_node(session, estimate);
  });
}

// Collective. The hashes of all that the run reads.
RunIdentity identify(cluster::Communicator& world, const Configuration& configuration,
                     const RunInputs& inputs) {
  RunIdentity identity;
  identity.configuration = configuration.table().values();
  const auto add_model = [&](const std::string& prefix, const ModelDirectory& model) {
    for (const auto& [file, hash] : hash_model_files(world, model))
      identity.inputs[prefix + file] = hash;
  };
  add_model("model/", inputs.model);
  identity.inputs["catalog/concepts"] = hash_concepts(inputs.concepts);
  identity.inputs["catalog/shared"] = inputs.shared.hash;
  for (const auto& entry : inputs.concepts)
    if (entry.sensitive) identity.sensitive.insert(entry.name);
  if (configuration.dictionary.init == "file")
    identity.inputs["dictionary/initial"] = hash_file(world, configuration.dictionary.init_file);
  const auto& selection = configuration.selection;
  if (selection.method == "manual")
    identity.inputs["selection/manual"] = hash_file(world, selection.manual);
  if (!selection.frequencies.empty())
    identity.inputs["selection/frequencies"] = hash_file(world, selection.frequencies);
  if (inputs.judge) add_model("judge/", *inputs.judge);
  return identity;
}

// A template that is not known is one that the user may believe to be used.
void tell_of_template(cluster::Communicator& world, const Configuration& configuration,
                      const ModelDirectory& model) {
  if (world.rank() == 0 && configuration.corpus.prompt_style == "auto" &&
      !model.chat_problem.empty())
    cluster::log_warning("prompts are plain: " + model.chat_problem);
}

}  // namespace

RunInputs read_inputs(cluster::Communicator& world, const Configuration& configuration) {
  Problems problems;
  std::optional<ModelDirectory> directory;
  corpus::SharedText shared;
  attempt(problems, "run.model", [&] { directory = open_model(configuration.run.model); });
  attempt(problems, "run.catalog",
          [&] { shared = corpus::read_shared(configuration.run.catalog); });
  auto concepts = open_catalog(world, configuration, problems);
  if (directory) check_places(configuration, problems);
  if (directory && !directory->chat && configuration.corpus.prompt_style == "chat")
    problems.add("corpus.prompt_style", directory->chat_problem.empty()
                                            ? "chat, but the model has no chat template"
                                            : "chat, but " + directory->chat_problem);
  if (!concepts.empty())
    corpus::names_of(concepts, "the run")
        .find_all(configuration.relearning.concepts, "relearning.concepts", problems);
  if (directory)
    attempt(problems, "configuration", [&] {
      activations::chosen_layers(configuration.activations, directory->config.layers);
    });
  cluster::agree(world, [&] { problems.throw_if_any<ConfigError>("the run cannot start:"); });

  RunInputs inputs{std::move(*directory), std::move(concepts), std::move(shared), {}, {}, {}};
  open_initial(configuration, inputs, problems);
  open_selection(configuration, inputs, problems);
  cluster::agree(world, [&] { problems.throw_if_any<ConfigError>("the run cannot start:"); });
  return inputs;
}

RunInputs open_inputs(cluster::Session& session, const Configuration& configuration) {
  auto& world = session.world();
  auto inputs = read_inputs(world, configuration);
  check_memory(session, configuration, inputs);
  tell_of_template(world, configuration, inputs.model);
  inputs.identity = identify(world, configuration, inputs);
  return inputs;
}

void check_model_memory(cluster::Session& session, const model::ModelConfig& config) {
  cluster::agree(session.world(), [&] {
    const auto estimate = model::estimate_memory(config, model::BatchOptions{}.max_tokens, 0);
    check_node(session, estimate);
  });
}

}  // namespace quench::pipeline
