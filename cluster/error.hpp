#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace quench {

// Exit codes of every command (docs/exit-codes.md).
enum class ExitCode : int {
  done = 0,
  some_failed = 1,
  waiting = 10,   // for answers from outside
  usage = 64,     // usage, configuration or input
  internal = 70,  // our own bug
  stopped = 75,   // stopped early, with a checkpoint; the same command goes on
};

// Base of everything that Quench throws on purpose; carries the exit code it leads to.
class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ExitCode code() const noexcept { return code_; }
  // True when every rank throws this error (see cluster::agree), so that the job can end in order.
  bool agreed() const noexcept { return agreed_; }
  void mark_agreed() noexcept { agreed_ = true; }

 private:
  ExitCode code_;
  bool agreed_ = false;
};

// A wrong command line or configuration: names the key, the value and what is allowed.
class ConfigError : public Error {
 public:
  explicit ConfigError(const std::string& message) : Error(ExitCode::usage, message) {}
};

// A broken, missing or unwritable file: names the file, the place in it and the remedy.
class DataError : public Error {
 public:
  explicit DataError(const std::string& message) : Error(ExitCode::usage, message) {}
};

// A failed call of MPI, NCCL or HDF5: keeps the call and the library's own text.
class ClusterError : public Error {
 public:
  explicit ClusterError(const std::string& message) : Error(ExitCode::internal, message) {}
};

// A broken invariant of our own.
class InternalError : public Error {
 public:
  explicit InternalError(const std::string& message) : Error(ExitCode::internal, message) {}
};

// The run was asked to stop; what is finished is kept.
class Stopped : public Error {
 public:
  explicit Stopped(const std::string& message) : Error(ExitCode::stopped, message) {}
};

// Collects everything that is wrong with an input, so that it is told all at once.
class Problems {
 public:
  void add(std::string_view place, std::string_view what) {
    list_.push_back(std::string(place) + ": " + std::string(what));
  }
  bool empty() const { return list_.empty(); }
  const std::vector<std::string>& list() const { return list_; }

  // Throws E (ConfigError, DataError) with all problems, one a line (of more than a thousand, how
  // many more there are); does nothing without any.
  template <typename E>
  void throw_if_any(std::string_view heading) const {
    constexpr std::size_t most_told = 1000;
    if (list_.empty()) return;
    std::string text(heading);
    for (std::size_t i = 0; i < list_.size() && i < most_told; ++i) text += "\n  " + list_[i];
    if (list_.size() > most_told)
      text += "\n  and " + std::to_string(list_.size() - most_told) + " more";
    throw E(text);
  }

 private:
  std::vector<std::string> list_;
};

}  // namespace quench
