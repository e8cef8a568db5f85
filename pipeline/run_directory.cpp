#include "pipeline/run_directory.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <ctime>
#include <fstream>
#include <set>

#include "cluster/collectives.hpp"
#include "cluster/error.hpp"
#include "cluster/hash.hpp"
#include "cluster/log.hpp"
#include "pipeline/version.hpp"

namespace quench::pipeline {

using nlohmann::json;

namespace {

std::string utc_now() {
  const auto now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

// Every key on which the two maps differ, with both values.
void compare(const std::map<std::string, std::string>& before,
             const std::map<std::string, std::string>& now, Problems& problems) {
  std::set<std::string> keys;
  for (const auto& [key, value] : before) keys.insert(key);
  for (const auto& [key, value] : now) keys.insert(key);
  const auto value_of = [](const auto& map, const std::string& key) {
    const auto found = map.find(key);
    return found == map.end() ? std::string("(absent)") : found->second;
  };
  for (const auto& key : keys) {
    if (!decides_results(key)) continue;
    const auto was = value_of(before, key);
    const auto is = value_of(now, key);
    if (was != is) problems.add(key, "was '" + was + "', is now '" + is + "'");
  }
}

void refuse_changes(const json& manifest, const std::filesystem::path& path,
                    const RunIdentity& identity) {
  Problems problems;
  compare(manifest.at("configuration"), identity.configuration, problems);
  compare(manifest.at("inputs"), identity.inputs, problems);
  problems.throw_if_any<ConfigError>(
      path.string() + ": belongs to a run with another configuration or other inputs" +
      " (take another run.directory, or --accept-changes to recompute what depends on them):");
}

// What is wrong with a manifest; empty: nothing.
std::string fault_of(const json& manifest) {
  if (!manifest.is_object()) return "is no object";
  const auto is_texts = [](const json& map) {
    return map.is_object() &&
           std::ranges::all_of(map, [](const json& value) { return value.is_string(); });
  };
  const auto value = [&](const char* key) { return manifest.value(key, json()); };
  if (!value("run_id").is_string()) return "run_id is no text, or missing";
  for (const char* key : {"configuration", "inputs"})
    if (!is_texts(value(key))) return std::string(key) + " is no object of texts, or missing";
  if (!value("starts").is_array()) return "starts is no list, or missing";
  if (manifest.contains("outcome") && !value("outcome").is_string()) return "outcome is no text";
  const auto& sensitive = value("sensitive");
  if (!sensitive.is_null() && !sensitive.is_array()) return "sensitive is no list";
  if (!std::ranges::all_of(sensitive, [](const json& name) { return name.is_string(); }))
    return "sensitive is no list of texts";
  return "";
}

json slurm_environment() {
  json slurm = json::object();
  for (const char* name : {"SLURM_JOB_ID", "SLURM_RESTART_COUNT", "SLURM_JOB_NODELIST",
                           "SLURM_NTASKS", "SLURM_ARRAY_TASK_ID"}) {
    if (const char* value = std::getenv(name)) slurm[name] = value;
  }
  return slurm;
}

json describe_start(cluster::Session& session, const std::string& command, bool accept_changes) {
  const auto& topology = session.topology();
  return {{"time", utc_now()},
          {"command", command},
          {"ranks", session.world().size()},
          {"nodes", topology.nodes},
          {"threads_a_rank", topology.threads},
          {"hosts", topology.hosts},
          {"device", cluster::describe(session.device())},
          {"libraries", cluster::library_versions()},
          {"version", version_text()},
          {"slurm", slurm_environment()},
          {"changes_accepted", accept_changes}};
}

json open_manifest(const std::filesystem::path& path, const RunIdentity& identity,
                   bool accept_changes, cluster::FileLock& lock) {
  std::error_code code;
  std::filesystem::create_directories(path, code);
  if (code) {
    throw DataError(path.string() + ": cannot make the run directory: " + code.message());
  }
  lock = cluster::FileLock(path / "lock");
  if (!lock.held())
    throw ConfigError(path.string() +
                      ": another run is at work here; wait for its end, or take "
                      "another run.directory");
  json manifest;
  if (auto before = read_manifest(path / "manifest.json")) {
    manifest = std::move(*before);
    if (!accept_changes) refuse_changes(manifest, path, identity);
  } else {
    manifest = {{"run_id", cluster::sha256(path.string() + utc_now()).substr(0, 16)},
                {"created", utc_now()},
                {"starts", json::array()}};
  }
  manifest["configuration"] = identity.configuration;
  // run.model may be relative to where the run was started.
  manifest["model_directory"] =
      std::filesystem::absolute(identity.configuration.at("run.model")).lexically_normal().string();
  manifest["inputs"] = identity.inputs;
  manifest["sensitive"] = identity.sensitive;
  return manifest;
}

// Adds this start's timers to those of earlier starts.
void add_to_timings(const std::filesystem::path& file,
                    const std::vector<cluster::TimerSummary>& summaries) {
  std::map<std::string, json> rows;
  if (std::ifstream stream(file); stream) {
    try {
      for (const auto& row : json::parse(stream)) rows[row.at("name")] = row;
    } catch (const json::exception&) {
      cluster::log_warning(file.string() + ": is damaged; timings begin anew");
      rows.clear();
    }
  }
  for (const auto& timer : summaries) {
    auto& row = rows[timer.name];
    const auto add = [&](const char* field, auto value) {
      row[field] = row.value(field, decltype(value){}) + value;
    };
    if (row.is_null()) row = {{"name", timer.name}};
    add("min", timer.min);
    add("mean", timer.mean);
    add("max", timer.max);
    add("calls", timer.calls);
  }
  json all = json::array();
  for (const auto& [name, row] : rows) all.push_back(row);
  write_atomically(file, all.dump(1) + "\n");
}

}  // namespace

bool decides_results(const std::string& key) {
  static const std::set<std::string> free = {
      "run.directory", "run.export_to", "run.group_size", "run.threads", "run.device",
      "run.watchdog", "run.time_limit", "run.baseline_cache", "dictionary.batch",
      "dictionary.checkpoint", "activations.checkpoint", "judge.batch",
      // These by what they hold.
      "run.model", "run.catalog", "judge.model", "selection.manual", "selection.frequencies",
      "dictionary.init_file"};
  return !free.contains(key) && !key.starts_with("report.");
}

std::optional<json> read_manifest(const std::filesystem::path& file) {
  std::ifstream stream(file);
  if (!stream) return std::nullopt;
  constexpr auto remedy = "; move the run directory away, or restore the file";
  try {
    auto manifest = json::parse(stream);
    if (const auto fault = fault_of(manifest); !fault.empty())
      throw DataError(file.string() + ": is no manifest of a run: " + fault + remedy);
    return manifest;
  } catch (const json::exception& error) {
    throw DataError(file.string() + ": " + error.what() + remedy);
  } catch (const std::ios_base::failure& error) {  // a directory
    throw DataError(file.string() + ": cannot be read" + remedy);
  }
}

void write_atomically(const std::filesystem::path& path, const std::string& text) {
  const auto partial = path.string() + ".partial";
  const auto fail = [&](const char* what) {
    const std::string reason = std::strerror(errno);
    std::filesystem::remove(partial);
    throw DataError(path.string() + ": " + what + ": " + reason);
  };
  std::FILE* file = std::fopen(partial.c_str(), "wb");
  if (file == nullptr) fail("cannot be written");
  const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size() &&
                       std::fflush(file) == 0 && fsync(fileno(file)) == 0;
  const bool closed = std::fclose(file) == 0;
  if (!written || !closed) fail("cannot be written");
  if (std::rename(partial.c_str(), path.c_str()) != 0) fail("cannot be renamed into place");
}

RunDirectory::RunDirectory(cluster::Session& session, std::filesystem::path path,
                           const RunIdentity& identity, const std::string& command,
                           bool accept_changes)
    : path_(std::move(path)) {
  auto& world = session.world();
  cluster::agree(world, [&] {
    if (world.rank() != 0) return;
    manifest_ = open_manifest(path_, identity, accept_changes, lock_);
    manifest_["starts"].push_back(describe_start(session, command, accept_changes));
    manifest_["outcome"] = "running";
    write_atomically(path_ / "manifest.json", manifest_.dump(2) + "\n");
  });
  run_id_ = cluster::broadcast_string(
      world, 0, world.rank() == 0 ? manifest_.at("run_id").get<std::string>() : "");
}

void RunDirectory::save_timers(cluster::Session& session, const cluster::Timers& timers) {
  const auto summaries = cluster::summarise(session.world(), timers);
  cluster::agree(session.world(), [&] {
    if (session.world().rank() == 0) add_to_timings(path_ / "timings.json", summaries);
  });
}

void RunDirectory::finish(cluster::Session& session, const std::string& outcome) {
  if (session.world().rank() != 0) return;
  manifest_["outcome"] = outcome;
  manifest_["starts"].back()["ended"] = utc_now();
  write_atomically(path_ / "manifest.json", manifest_.dump(2) + "\n");
}

}  // namespace quench::pipeline
