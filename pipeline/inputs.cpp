#include "pipeline/inputs.hpp"

#include <algorithm>
#include <optional>
#include <set>

#include "cluster/collectives.hpp"
#include "cluster/hash.hpp"
#include "model/memory.hpp"
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
                    entry.sentences, entry.questions, entry.paragraphs, entry.sensitive});
  }
  return list;
}

std::vector<corpus::ConceptEntry> entries_from(const json& list) {
  std::vector<corpus::ConceptEntry> entries;
  for (const auto& item : list) {
    entries.push_back(
        {item[0], item[1], item[2], item[3], item[4], item[5], item[6], item[7], item[8]});
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
  }
}

void check_relearning_names(const Configuration& configuration,
                            const std::vector<corpus::ConceptEntry>& concepts, Problems& problems) {
  for (const auto& name : configuration.relearning.concepts) {
    const bool there = std::any_of(concepts.begin(), concepts.end(),
                                   [&](const auto& entry) { return entry.name == name; });
    if (!there)
      problems.add("relearning.concepts", "'" + name + "' is not among the run's concepts");
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
  selection::ManualLimits limits{{}, configuration.dictionary.rank, vocab};
  for (const auto& entry : concepts) {
    limits.names.push_back({entry.name});
    limits.names.back().insert(limits.names.back().end(), entry.aliases.begin(),
                               entry.aliases.end());
  }
  return selection::read_manual(configuration.selection.manual, limits);
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
  if (options.method == "judge" && !configuration.judge.model.empty())
    attempt(problems, "judge.model", [&] { inputs.judge = open_model(configuration.judge.model); });
  if (!options.frequencies.empty())
    attempt(problems, "selection.frequencies",
            [&] { selection::read_frequencies(options.frequencies); });
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

}  // namespace

RunInputs open_inputs(cluster::Session& session, const Configuration& configuration) {
  auto& world = session.world();
  Problems problems;
  std::optional<ModelDirectory> directory;
  corpus::SharedText shared;
  attempt(problems, "run.model", [&] { directory = open_model(configuration.run.model); });
  attempt(problems, "run.catalog",
          [&] { shared = corpus::read_shared(configuration.run.catalog); });
  auto concepts = open_catalog(world, configuration, problems);
  if (!concepts.empty()) check_relearning_names(configuration, concepts, problems);
  if (directory)
    attempt(problems, "configuration", [&] {
      activations::chosen_layers(configuration.activations, directory->config.layers);
    });
  cluster::agree(world, [&] { problems.throw_if_any<ConfigError>("the run cannot start:"); });

  RunInputs inputs{std::move(*directory), std::move(concepts), std::move(shared), {}, {}, {}};
  open_initial(configuration, inputs, problems);
  open_selection(configuration, inputs, problems);
  cluster::agree(world, [&] { problems.throw_if_any<ConfigError>("the run cannot start:"); });
  inputs.identity.configuration = configuration.table().values();
  for (const auto& [file, hash] : hash_model_files(world, inputs.model)) {
    inputs.identity.inputs["model/" + file] = hash;
  }
  inputs.identity.inputs["catalog/concepts"] = hash_concepts(inputs.concepts);
  inputs.identity.inputs["catalog/shared"] = inputs.shared.hash;
  for (const auto& entry : inputs.concepts)
    if (entry.sensitive) inputs.identity.sensitive.insert(entry.name);
  if (configuration.dictionary.init == "file")
    inputs.identity.inputs["dictionary/initial"] =
        hash_file(world, configuration.dictionary.init_file);
  const auto& selection = configuration.selection;
  if (selection.method == "manual")
    inputs.identity.inputs["selection/manual"] = hash_file(world, selection.manual);
  if (!selection.frequencies.empty())
    inputs.identity.inputs["selection/frequencies"] = hash_file(world, selection.frequencies);
  if (inputs.judge)
    for (const auto& [file, hash] : hash_model_files(world, *inputs.judge))
      inputs.identity.inputs["judge/" + file] = hash;
  return inputs;
}

void check_memory(cluster::Session& session, const Configuration& configuration,
                  const RunInputs& inputs) {
  cluster::agree(session.world(), [&] {
    const auto estimate =
        memory_needs(configuration, inputs.model.config, inputs.concepts, inputs.shared);
    model::check_memory(estimate, session.topology().ranks_on_node, model::available_memory());
  });
}

}  // namespace quench::pipeline
