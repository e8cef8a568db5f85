#include "pipeline/configuration.hpp"

#include <algorithm>
#include <boost/program_options/options_description.hpp>
#include <boost/program_options/parsers.hpp>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

namespace quench::pipeline {

namespace {

void describe(RunOptions& options, OptionTable& table) {
  table.add("run.model", options.model, "model directory, as Hugging Face writes it");
  table.add("run.catalog", options.catalog, "catalog directory (docs/catalog.md)");
  table.add("run.directory", options.directory, "run directory: intermediates, journals, report");
  table.add("run.export_to", options.export_to,
            "where the erased model goes; auto: DIRECTORY/model; none: nowhere");
  table.add("run.baseline_cache", options.baseline_cache,
            "directory where base models' results are kept and found by other runs; empty: none");
  table.add("run.group_size", options.group_size, "ranks that share one task", {1, 4096});
  table.add("run.threads", options.threads,
            "intra-op threads of a rank; 0: its share of the node's cores", {0, 1024});
  table.add_choice(
      "run.device", options.device,
      "what ranks compute on; auto: a GPU each if every rank can have one, else the CPU",
      {"auto", "cpu", "cuda"});
  table.add("run.time_limit", options.time_limit,
            "minutes after which the run stops with a checkpoint; 0: none", {0, 1e6});
  table.add(
      "run.watchdog", options.watchdog,
      "seconds after which a rank that waits in one collective ends the job (code 70): another "
      "rank hangs; 0: never",
      {0, 1e6});
}

void describe(JudgeOptions& options, OptionTable& table) {
  table.add(
      "judge.model", options.model,
      "directory of a local instruct model that answers the judge's questions; empty: they are "
      "answered elsewhere, in files");
  table.add("judge.name", options.name, "model that the judge's requests name");
  table.add("judge.batch", options.batch, "judge.model: prompts side by side", {1, 4096});
}

bool is_utf8(const std::string& text) {
  try {
    return !nlohmann::json(text).dump().empty();
  } catch (const nlohmann::json::type_error&) {
    return false;
  }
}

// Efficacy is of questions that must be made, also of those that a strength is chosen by.
void check_forms(const corpus::Options& corpus, const evaluation::Options& evaluation,
                 Problems& problems) {
  const auto asks_for = [&](const std::string& form) {
    return std::ranges::find(corpus.train_forms, form) != corpus.train_forms.end();
  };
  for (const auto& form : corpus.train_forms)
    if (form != "choice" && form != "letter" && form != "open")
      problems.add("corpus.train_forms", "'" + form + "'; known: choice, letter, open");
  const auto& form = evaluation.form;
  if (form == "choice") return;
  if (!(form == "letter" ? corpus.letter : corpus.open))
    problems.add("corpus." + form,
                 "false, but evaluation.form = " + form + " needs such questions");
  if (!asks_for(form))
    problems.add("corpus.train_forms", "lacks " + form + ", which evaluation.form = " + form +
                                           " chooses strengths by; add it");
  if (corpus.letter && !asks_for("letter"))
    problems.add(
        "corpus.train_forms",
        "lacks letter: gates on general knowledge would be by likelihood, its test figures "
        "by letters; add it, or set corpus.letter = false");
  if (evaluation.objective == "margin")
    problems.add("evaluation.objective", "margin is of choice questions alone; evaluation.form = " +
                                             form + " needs accuracy");
}

}  // namespace

Configuration::Configuration() {
  describe(run, table_);
  describe(corpus, table_);
  describe(dictionary, table_);
  describe(activations, table_);
  describe(selection, table_);
  describe(judge, table_);
  describe(erasure, table_);
  describe(evaluation, table_);
  describe(relearning, table_);
  describe(report, table_);
}

namespace {

// The parser ends a line at any #, also one in the middle of a path or a name.
void refuse_hashes(std::istream& stream, const std::string& file, Problems& problems) {
  std::int64_t number = 0;
  for (std::string line; std::getline(stream, line);) {
    ++number;
    const auto at = line.find('#');
    if (at == std::string::npos || at == 0 || line[at - 1] == ' ' || line[at - 1] == '\t') continue;
    problems.add(file + ":" + std::to_string(number),
                 "'" + line.substr(0, at + 1) +
                     "': a # begins a comment; set a space before it, or give a value that holds "
                     "one with --set");
  }
  stream.clear();
  stream.seekg(0);
}

}  // namespace

void Configuration::read_file(const std::filesystem::path& file) {
  namespace po = boost::program_options;
  std::ifstream stream(file);
  if (!stream || std::filesystem::is_directory(file)) {
    throw ConfigError(file.string() + ": cannot read the configuration file");
  }
  const po::options_description none;
  Problems problems;
  refuse_hashes(stream, file.string(), problems);
  std::set<std::string> seen;
  try {
    const auto parsed = po::parse_config_file(stream, none, /*allow_unregistered=*/true);
    for (const auto& option : parsed.options) {
      if (!seen.insert(option.string_key).second)
        problems.add(file.string(), option.string_key + ": given twice; keep one of them");
      try {
        table_.set(option.string_key, option.value.empty() ? "" : option.value.front());
      } catch (const ConfigError& error) {
        problems.add(file.string(), error.what());
      }
    }
  } catch (const po::error& error) {
    throw ConfigError(file.string() + ": " + error.what());
  }
  problems.throw_if_any<ConfigError>("configuration:");
}

void Configuration::set(const std::string& assignment) {
  const auto equals = assignment.find('=');
  if (equals == std::string::npos) {
    throw ConfigError("--set " + assignment + ": expected key=value");
  }
  table_.set(assignment.substr(0, equals), assignment.substr(equals + 1));
}

void Configuration::validate() const {
  Problems problems;
  table_.validate(problems);
  const auto required = [&](const char* key, const std::string& value) {
    if (value.empty()) problems.add(key, "missing; set it in the configuration or with --set");
  };
  required("run.model", run.model);
  required("run.catalog", run.catalog);
  required("run.directory", run.directory);
  if (dictionary.init == "file") required("dictionary.init_file", dictionary.init_file);
  if (selection.method == "manual") required("selection.manual", selection.manual);
  if (erasure.strengths.empty())
    problems.add("erasure.strengths", "empty; name a strength or more");
  check_forms(corpus, evaluation, problems);
  for (const auto& [key, value] : table_.values())
    if (!is_utf8(value)) problems.add(key, "is not UTF-8");
  problems.throw_if_any<ConfigError>("configuration:");
}

}  // namespace quench::pipeline
