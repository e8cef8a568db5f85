#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>

#include "cluster/communicator.hpp"
#include "cluster/file_lock.hpp"
#include "cluster/session.hpp"
#include "cluster/timers.hpp"

namespace quench::pipeline {

// The identity of a run: configuration and inputs, by key. A run directory belongs to one.
struct RunIdentity {
  std::map<std::string, std::string> configuration;  // option -> value
  std::map<std::string, std::string>
      inputs;  // "model/config.json" -> SHA-256, "catalog/concepts" -> SHA-256, ...
  // No part of what a run is, and as it is now: names of the concepts marked sensitive.
  std::set<std::string> sensitive;
};

// RUN/manifest.json and RUN/timings.json, written by rank 0.
class RunDirectory {
 public:
  // Makes the directory or opens it again. Collective. Throws on all ranks: ConfigError naming
  // every key whose value differs from the manifest's (unless `accept_changes`, which is recorded),
  // or when another run is at work in it; DataError when it cannot be written.
  RunDirectory(cluster::Session& session, std::filesystem::path path, const RunIdentity& identity,
               const std::string& command, bool accept_changes);

  const std::filesystem::path& path() const { return path_; }
  const std::string& run_id() const { return run_id_; }

  // Collective: adds this start's timers (summed over starts) to timings.json.
  void save_timers(cluster::Session& session, const cluster::Timers& timers);
  // Writes the outcome ("done", "stopped", "failed: ...") of this start. Rank 0 writes, others do
  // nothing.
  void finish(cluster::Session& session, const std::string& outcome);

 private:
  std::filesystem::path path_;
  std::string run_id_;
  cluster::FileLock lock_;  // rank 0's
  nlohmann::json manifest_;
};

// Options that may change between starts of one run: where and how it is computed, not what.
bool decides_results(const std::string& key);

// The manifest of a run; nothing where there is no such file. Throws DataError for a damaged one.
std::optional<nlohmann::json> read_manifest(const std::filesystem::path& file);

// Writes text to a file beside `path` and renames it; throws DataError naming the path.
void write_atomically(const std::filesystem::path& path, const std::string& text);

}  // namespace quench::pipeline
