// run, status, report, export: the commands about a run directory.
#include "pipeline/run_commands.hpp"

#include <cstdio>
#include <exception>
#include <fstream>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>

#include "cluster/collectives.hpp"
#include "cluster/stop.hpp"
#include "model/export.hpp"
#include "model/patch.hpp"
#include "pipeline/collectively.hpp"
#include "pipeline/command_line.hpp"
#include "pipeline/run.hpp"
#include "pipeline/saved_run.hpp"
#include "stages/report/report.hpp"

namespace quench::pipeline {

namespace po = boost::program_options;

namespace {

constexpr const char* run_explanation =
    "Runs the whole pipeline: corpus, dictionary, selection, baseline, erasure, evaluation,\n"
    "relearning, export, report. Start it under mpirun or srun for several ranks. The same "
    "command\n"
    "goes on where an earlier start stopped; finished stages and tasks are kept.\n\n"
    "  mpirun -n 8 quench run -c configs/quickstart.cfg --set dictionary.rank=200\n\n"
    "The keys of the configuration, with their defaults, are listed by quench run --keys.";

std::string joined(const Words& words) {
  return std::accumulate(
      words.begin(), words.end(), std::string("quench run"),
      [](const std::string& text, const auto& word) { return text + " " + word; });
}

cluster::SessionOptions session_options(const Configuration& configuration) {
  return {.group_size = static_cast<int>(configuration.run.group_size),
          .threads = static_cast<int>(configuration.run.threads)};
}

// Nothing where the manifest is missing or damaged: what is there is reported all the same.
std::optional<SavedRun> open_if_there(const std::filesystem::path& directory) {
  try {
    return SavedRun(directory);
  } catch (const DataError&) {
    return std::nullopt;
  }
}

// A patch's metadata are texts.
std::map<std::string, std::string> about_patch(const ErasedModel& erased) {
  const auto name = std::filesystem::weakly_canonical(erased.model.path / "config.json");
  std::map<std::string, std::string> about = {{"model", name.parent_path().filename().string()}};
  for (const auto& [key, value] : erased.provenance.items())
    about[key] = value.is_string() ? value.get<std::string>() : value.dump();
  return about;
}

}  // namespace

void read_configuration(Configuration& configuration, const po::variables_map& values) {
  for (const auto& file : values["config"].as<Words>()) configuration.read_file(file);
  for (const auto& assignment : values["set"].as<Words>()) configuration.set(assignment);
  configuration.validate();
}

void add_configuration_options(po::options_description& options) {
  options.add_options()("config,c", po::value<Words>()->default_value({}, ""),
                        "configuration file; a later one overrides")(
      "set", po::value<Words>()->default_value({}, ""), "key=value, overrides the files");
}

ExitCode run_command(const Words& words) {
  CommandLine line{"quench run -c FILE [--set key=value ...]", run_explanation, {}, {}};
  add_configuration_options(line.options);
  line.options.add_options()("accept-changes",
                             "recompute what a changed configuration or input decides")(
      "quiet,q", "no progress lines")("keys", "list the keys of the configuration");
  const auto values = line.parse(words);
  if (!values) return ExitCode::done;
  Configuration configuration;
  if (values->contains("keys")) {
    std::cout << configuration.table().help();
    return ExitCode::done;
  }
  // A wrong configuration is told after the ranks have met: once, not by each of them.
  std::exception_ptr wrong;
  try {
    read_configuration(configuration, *values);
  } catch (const Error&) {
    wrong = std::current_exception();
  }
  cluster::StopFlag::install_signal_handlers();
  cluster::Session session(wrong ? cluster::SessionOptions{} : session_options(configuration));
  return collectively(session, [&] {
    cluster::agree(session.world(), [&] {
      if (wrong) std::rethrow_exception(wrong);
    });
    return run(session, configuration,
               {joined(words), values->contains("accept-changes"), values->contains("quiet")});
  });
}

ExitCode status_command(const Words& words) {
  CommandLine line{"quench status RUN",
                   "Which stages of a run are complete, how many tasks of the one in progress are "
                   "done,\nand the figures so far. Needs no MPI and no model.",
                   {},
                   {}};
  line.options.add_options()("run", po::value<std::string>()->required(), "run directory");
  line.positional.add("run", 1);
  const auto values = line.parse(words);
  if (!values) return ExitCode::done;
  const std::filesystem::path directory = (*values)["run"].as<std::string>();
  print_status(std::cout, SavedRun(directory));
  std::cout << report::summary_table(directory);
  return ExitCode::done;
}

ExitCode report_command(const Words& words) {
  CommandLine line{
      "quench report RUN [--redact sensitive|all|none]",
      "Writes RUN/report: index.html, which opens offline, and CSV tables. Answers about "
      "concepts that\nthe catalog marks as sensitive, when the run last began or now, are "
      "left out.",
      {},
      {}};
  line.options.add_options()("run", po::value<std::string>()->required(), "run directory")(
      "redact", po::value<std::string>(),
      "whose answers are left out, instead of the run's report.redact");
  line.positional.add("run", 1);
  const auto values = line.parse(words);
  if (!values) return ExitCode::done;
  const std::filesystem::path directory = (*values)["run"].as<std::string>();
  const auto run = open_if_there(directory);
  report::Options options;
  OptionTable table;
  report::describe(options, table);
  if (run) run->read_options(table);
  if (values->contains("redact")) table.set("report.redact", (*values)["redact"].as<std::string>());
  Problems problems;
  table.validate(problems);
  problems.throw_if_any<ConfigError>("quench report:");
  const auto sensitive = run ? run->sensitive() : std::nullopt;
  const auto summary = report::write_report(directory, options, sensitive);
  std::cout << summary.table << "\nreport: " << summary.page.string() << "\n";
  return ExitCode::done;
}

ExitCode export_command(const Words& words) {
  CommandLine line{
      "quench export RUN [--concepts all|NAME ...] [--to DIR] [--patch FILE]",
      "Writes what a run erased, the edits of the chosen concepts combined as the run's joint edit "
      "is:\na model directory in Hugging Face's format (--to; lm_head is explicit, tokenizer files "
      "are copied),\nor the edited rows of the embedding alone, with hashes of what they replace "
      "(--patch). docs/guide.md\nsays which servers load the directory, and how the patch is put "
      "into a model.",
      {},
      {}};
  line.options.add_options()("run", po::value<std::string>()->required(), "run directory")(
      "concepts", po::value<Words>()->multitoken()->default_value({"all"}, "all"),
      "all, or names: --concepts Golf \"Harry Potter\"")("to", po::value<std::string>(),
                                                         "directory to make")(
      "patch", po::value<std::string>(), "safetensors file to write")("overwrite",
                                                                      "replace an earlier export");
  line.positional.add("run", 1);
  const auto values = line.parse(words);
  if (!values) return ExitCode::done;
  if (!values->contains("to") && !values->contains("patch"))
    throw ConfigError(
        "quench export: name a directory (--to DIR), a patch (--patch FILE), or both");
  const auto erased =
      SavedRun((*values)["run"].as<std::string>()).erase((*values)["concepts"].as<Words>());
  const bool overwrite = values->contains("overwrite");
  if (values->contains("to")) {
    const auto& to = (*values)["to"].as<std::string>();
    model::export_model(erased.model.path, erased.model.config, erased.model.checkpoint,
                        erased.overlay, to, erased.provenance.dump(2), overwrite);
    std::cout << "model: " << to << "\n";
  }
  if (values->contains("patch")) {
    const auto& patch = (*values)["patch"].as<std::string>();
    model::write_patch(erased.model.config, erased.model.checkpoint, erased.overlay, patch,
                       about_patch(erased), overwrite);
    std::cout << "patch: " << patch << " (" << erased.overlay.ids.size() << " rows)\n";
  }
  return ExitCode::done;
}

}  // namespace quench::pipeline
