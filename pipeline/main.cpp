#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <iostream>
#include <string>
#include <thread>

#include "cluster/heap.hpp"
#include "cluster/launcher.hpp"
#include "cluster/log.hpp"
#include "cluster/session.hpp"
#include "pipeline/commands.hpp"
#include "pipeline/version.hpp"

namespace {

using quench::ExitCode;

void print_overview() {
  std::printf(
      "quench: bulk, robust concept erasure for language models\n\n"
      "usage: quench COMMAND [options]      (quench COMMAND --help explains one)\n\n");
  for (const auto& command : quench::pipeline::commands()) {
    std::printf("  %-9s  %s\n", command.name, command.summary);
  }
  std::printf(
      "\nexit codes: 0 done, 1 some tasks failed, 10 waiting for answers from outside, 64 usage,\n"
      "configuration or input, 70 internal error, 75 stopped early with a checkpoint (same command "
      "goes on)\n");
}

ExitCode dispatch(const quench::pipeline::Words& words) {
  if (words.empty() || words[0] == "--help" || words[0] == "-h" || words[0] == "help") {
    print_overview();
    return words.empty() ? ExitCode::usage : ExitCode::done;
  }
  if (words[0] == "--version") {
    std::printf("%s\n", quench::pipeline::version_text().c_str());
    for (const auto& library : quench::cluster::library_versions()) {
      std::printf("  %s\n", library.c_str());
    }
    return ExitCode::done;
  }
  for (const auto& command : quench::pipeline::commands()) {
    if (words[0] == command.name) return command.function({words.begin() + 1, words.end()});
  }
  throw quench::ConfigError("unknown command '" + words[0] + "'; quench --help lists them");
}

// A table that a full disk or a closed pipe cut short shall not be taken for whole.
void flush_output() {
  std::cout.flush();
  if (!std::cout || std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
    throw quench::DataError("standard output cannot be written");
}

// What is wrong with the words, or with how the ranks were started, every rank sees: the first one
// tells. Other errors that get here may be this rank's alone.
bool is_told_by_another(const quench::Error& error) {
  return dynamic_cast<const quench::ConfigError*>(&error) != nullptr &&
         quench::cluster::launched_rank([](const char* name) { return std::getenv(name); }) > 0;
}

// Threads that wait for each other by spinning take the core from the one they wait for as soon as
// anything else runs on the node: ten times the time for small systems. The OpenMP runtime reads
// its settings when it is loaded, so they are set by starting anew. A setting of the user's stays.
void wait_without_spinning(char** argv) {
  for (const char* setting : {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"})
    if (std::getenv(setting) != nullptr) return;
  constexpr int keep = 0;
  setenv("OMP_WAIT_POLICY", "passive", keep);
  execv("/proc/self/exe", argv);  // returns only where there is no /proc: then it stays as it is
}

}  // namespace

int main(int argc, char** argv) {
  wait_without_spinning(argv);
  quench::cluster::keep_freed_memory();
  quench::cluster::start_log();
  // A file size limit shall be a failed write with a message, not the end of the process.
  std::signal(SIGXFSZ, SIG_IGN);
  try {
    const auto code = dispatch({argv + 1, argv + argc});
    flush_output();
    return static_cast<int>(code);
  } catch (const quench::Error& error) {
    if (is_told_by_another(error)) {
      // A launcher ends the others as soon as one has left: the one that tells needs its time.
      std::this_thread::sleep_for(std::chrono::seconds(2));
    } else {
      std::fprintf(stderr, "quench: %s\n", error.what());
    }
    return static_cast<int>(error.code());
  } catch (const std::filesystem::filesystem_error& error) {
    std::fprintf(stderr, "quench: %s\n", error.what());
    return static_cast<int>(quench::ExitCode::usage);
  } catch (const std::exception& error) {
    const std::string what = error.what();  // libtorch adds where in its code, and a backtrace
    std::fprintf(stderr, "quench: internal error: %s\n",
                 what.substr(0, what.find("\nException raised from")).c_str());
    return static_cast<int>(ExitCode::internal);
  }
}
