#include "cluster/log.hpp"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include "cluster/error.hpp"

namespace quench::cluster {

void start_log() {
  spdlog::set_default_logger(spdlog::stderr_color_mt("quench"));
  spdlog::set_pattern("%H:%M:%S %^%l%$ %v");
}

void log_to_file(const std::filesystem::path& file, int rank) {
  try {
    auto sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(file.string());
    auto& sinks = spdlog::default_logger()->sinks();
    if (rank != 0) sinks.front()->set_level(spdlog::level::warn);
    sinks.push_back(sink);
    sink->set_pattern("%Y-%m-%dT%H:%M:%S rank " + std::to_string(rank) + " %l %v");
    spdlog::flush_on(spdlog::level::info);
  } catch (const spdlog::spdlog_ex& error) {
    throw DataError(file.string() + ": the log cannot be written: " + error.what());
  }
}

void log_info(std::string_view line) { spdlog::info("{}", line); }

void log_warning(std::string_view line) { spdlog::warn("{}", line); }

}  // namespace quench::cluster
