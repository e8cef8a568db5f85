#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>

namespace quench {

// The model directory of a run, by its manifest: run.model, which may be relative to where the run
// was started; where it is not there, as it was found then. Throws json::exception for a manifest
// without run.model.
inline std::filesystem::path model_directory_of(const nlohmann::json& manifest) {
  const std::filesystem::path named =
      manifest.at("configuration").at("run.model").get<std::string>();
  const std::filesystem::path absolute = manifest.value("model_directory", "");
  return absolute.empty() || std::filesystem::exists(named / "config.json") ? named : absolute;
}

}  // namespace quench
