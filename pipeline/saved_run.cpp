#include "pipeline/saved_run.hpp"

#include <algorithm>
#include <fstream>
#include <ostream>
#include <span>

#include "cluster/error.hpp"
#include "cluster/hash.hpp"
#include "cluster/journal.hpp"
#include "cluster/log.hpp"
#include "cluster/store.hpp"
#include "pipeline/embedding_rows.hpp"
#include "pipeline/run_directory.hpp"
#include "stages/activations/activations.hpp"
#include "stages/dictionary/dictionary.hpp"
#include "stages/evaluation/evaluation.hpp"
#include "stages/manifest.hpp"
#include "stages/relearning/relearning.hpp"
#include "stages/selection/selection.hpp"

namespace quench::pipeline {

namespace {

// Finished tasks in a stage's journals; the key of a failed one begins with '-' (task_runner.cpp).
std::int64_t journalled(const std::filesystem::path& directory, const std::string& stage) {
  std::int64_t records = 0;
  std::error_code none;
  for (const auto& file :
       std::filesystem::directory_iterator(directory / "journals" / stage, none)) {
    records += std::ranges::count_if(cluster::scan_journal(file.path()),
                                     [](const auto& entry) { return entry.key.starts_with('+'); });
  }
  return records;
}

struct StageFile {
  std::string stage, file;
  std::int64_t schema;
};

// In the order of a run.
const std::vector<StageFile>& stage_files() {
  static const std::vector<StageFile> files = {
      {"corpus", "corpus.h5", corpus::schema},
      {"dictionary", "dictionary.h5", dictionary::schema},
      {"activations", "activations.h5", activations::schema},
      {"selection", "selection.h5", selection::schema},
      {"baseline", "baseline.h5", evaluation::schema},
      {"erasure", "edits.h5", erasure::schema},
      {"evaluation", "evaluation.h5", evaluation::schema},
      {"relearning", "relearning.h5", relearning::schema}};
  return files;
}

bool is_complete(const std::filesystem::path& file, const std::string& stage, std::int64_t schema) {
  try {
    const cluster::StoreReader reader(file, stage, schema);
    return true;
  } catch (const DataError&) {
    return false;
  }
}

// "a, b, c", or the first of them and how many more there are.
std::string list_of(const std::vector<std::string>& items, std::size_t most) {
  std::string text;
  for (std::size_t i = 0; i < std::min(items.size(), most); ++i)
    text += (i == 0 ? "" : ", ") + items[i];
  if (items.size() > most) text += " and " + std::to_string(items.size() - most) + " more";
  return text;
}

// Stages that a configuration may do without.
bool is_off(const SavedRun& run, const std::string& stage) {
  const auto value = [&](const char* key) {
    return run.manifest().at("configuration").value(key, "");
  };
  if (stage == "activations") return value("activations.layers").empty();
  return stage == "relearning" && value("relearning.enabled") == "false";
}

// The edits are those of the model as it was; in another one they are something that nobody has
// evaluated. Of the weights, the file that holds the embedding is looked at.
void check_unchanged(const ModelDirectory& model, const nlohmann::json& inputs) {
  Problems problems;
  for (const auto& file :
       {model.path / "config.json", model.checkpoint.at(model::embedding_name).file}) {
    const auto name = file.filename().string();
    if (inputs.value("model/" + name, "") != cluster::sha256_file(file))
      problems.add(file.string(), "is no longer the file that the run read");
  }
  problems.throw_if_any<DataError>("the model has changed since the run:");
}

}  // namespace

SavedRun::SavedRun(std::filesystem::path directory) : directory_(std::move(directory)) {
  const auto file = directory_ / "manifest.json";
  auto manifest = read_manifest(file);
  if (!manifest) throw DataError(directory_.string() + ": holds no run (no manifest.json)");
  manifest_ = std::move(*manifest);
}

std::filesystem::path SavedRun::model_directory() const {
  const auto& configuration = manifest_.at("configuration");
  if (!configuration.contains("run.model"))
    throw DataError((directory_ / "manifest.json").string() +
                    ": is no manifest of a run: configuration lacks run.model");
  return model_directory_of(manifest_);
}

void SavedRun::require(const std::vector<std::string>& stages, Problems& problems) const {
  for (const auto& [stage, name, schema] : stage_files()) {
    if (std::ranges::find(stages, stage) == stages.end()) continue;
    if (!has(name)) {
      problems.add(directory_.string(), "stage " + stage + " is not complete (no " + name +
                                            "); give the run's own command again");
      continue;
    }
    try {
      const cluster::StoreReader reader(file(name), stage, schema);
    } catch (const DataError& error) {
      problems.add(directory_.string(), error.what());
    }
  }
}

void SavedRun::read_options(OptionTable& table) const {
  const auto& configuration = manifest_.at("configuration");
  for (const auto& key : table.keys())
    if (configuration.contains(key)) table.set(key, configuration.at(key).get<std::string>());
}

std::optional<std::set<std::string>> SavedRun::sensitive() const {
  std::optional<std::set<std::string>> names;
  if (const auto known = manifest_.find("sensitive"); known != manifest_.end())
    names = known->get<std::set<std::string>>();
  const std::filesystem::path catalog = manifest_.at("configuration").value("run.catalog", "");
  if (!std::filesystem::exists(catalog / "concepts.jsonl")) return names;
  try {
    if (!names) names.emplace();
    for (const auto& entry : corpus::index_catalog(catalog))
      if (entry.sensitive) names->insert(entry.name);
    return names;
  } catch (const DataError&) {
    return std::nullopt;  // it cannot be told what it marks now
  }
}

ErasedModel SavedRun::erase(const std::vector<std::string>& concepts) const {
  const corpus::Corpus corpus(file("corpus.h5"));
  const erasure::Edits edits(file("edits.h5"));
  const bool all = concepts == std::vector<std::string>{"all"};
  Problems problems;
  const auto found = corpus.concept_names().find_all(
      all ? std::span<const std::string>() : concepts, "--concepts", problems);
  problems.throw_if_any<ConfigError>("unknown concepts:");
  const std::vector<std::int64_t> chosen(found.begin(), found.end());
  nlohmann::json names = nlohmann::json::array();
  std::vector<std::string> untouched;
  for (const auto c : chosen) {
    names.push_back(corpus.name(c));
    if (edits.strength(c) == 0) untouched.push_back(corpus.name(c) + " (" + edits.status(c) + ")");
  }
  if (!untouched.empty()) cluster::log_warning("the run has no edit of " + list_of(untouched, 10));
  if (edits.joint_factor() == 0) cluster::log_warning(no_joint_edit);
  auto model = open_model(model_directory());
  check_unchanged(model, manifest_.at("inputs"));
  auto overlay = overlay_from_file(model, edits.joint(chosen));
  nlohmann::json provenance = {{"run_id", manifest_.at("run_id")},
                               {"concepts", names},
                               {"joint_factor", edits.joint_factor()},
                               {"base_model", manifest_.at("inputs")}};
  return {std::move(model), std::move(overlay), std::move(provenance)};
}

void print_status(std::ostream& out, const SavedRun& run) {
  out << "run " << run.manifest().at("run_id").get<std::string>() << "  ("
      << run.manifest().value("outcome", "unknown") << ")\n\n";
  for (const auto& [stage, name, schema] : stage_files()) {
    std::string state = is_off(run, stage) ? "off" : "to come";
    if (run.has(name)) {
      state = is_complete(run.file(name), stage, schema)
                  ? "complete"
                  : "to come: " + name + " cannot be used and is written anew";
    } else if (const auto records = journalled(run.directory(), stage); records > 0) {
      state = "in progress, " + std::to_string(records) + " tasks finished";
    }
    out << "  " << stage << std::string(12 - stage.size(), ' ') << state << "\n";
  }
  out << "\n";
}

}  // namespace quench::pipeline
