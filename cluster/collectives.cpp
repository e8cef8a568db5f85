#include "cluster/collectives.hpp"

#include <array>
#include <filesystem>

#include "cluster/error.hpp"

namespace quench::cluster {
namespace {

// The types of exceptions that travel between ranks.
enum class Kind : std::int32_t { none, error, config, data, cluster, internal, stopped };

struct Outcome {
  Kind kind = Kind::none;
  ExitCode code = ExitCode::done;
  std::string message;
};

Kind kind_of(const Error& error) {
  if (dynamic_cast<const ConfigError*>(&error)) return Kind::config;
  if (dynamic_cast<const DataError*>(&error)) return Kind::data;
  if (dynamic_cast<const ClusterError*>(&error)) return Kind::cluster;
  if (dynamic_cast<const InternalError*>(&error)) return Kind::internal;
  if (dynamic_cast<const Stopped*>(&error)) return Kind::stopped;
  return Kind::error;
}

Outcome outcome_of(const std::function<void()>& local) {
  try {
    local();
    return {};
  } catch (const Error& error) {
    return {kind_of(error), error.code(), error.what()};
  } catch (const std::filesystem::filesystem_error& error) {  // a loop of links, a name too long
    return {Kind::data, ExitCode::usage, error.what()};
  } catch (const std::exception& error) {
    return {Kind::internal, ExitCode::internal, error.what()};
  } catch (...) {
    return {Kind::internal, ExitCode::internal, "an exception of unknown type"};
  }
}

template <typename E>
[[noreturn]] void throw_agreed(E error) {
  error.mark_agreed();
  throw error;
}

[[noreturn]] void throw_outcome(const Outcome& outcome) {
  switch (outcome.kind) {
    case Kind::config:
      throw_agreed(ConfigError(outcome.message));
    case Kind::data:
      throw_agreed(DataError(outcome.message));
    case Kind::cluster:
      throw_agreed(ClusterError(outcome.message));
    case Kind::internal:
      throw_agreed(InternalError(outcome.message));
    case Kind::stopped:
      throw_agreed(Stopped(outcome.message));
    default:
      throw_agreed(Error(outcome.code, outcome.message));
  }
}

}  // namespace

std::string broadcast_string(Communicator& comm, int root, std::string text) {
  text.resize(broadcast_value(comm, root, static_cast<std::int64_t>(text.size())));
  broadcast_from(comm, root, std::span<char>(text));
  return text;
}

void agree(Communicator& comm, const std::function<void()>& local) {
  Outcome outcome = outcome_of(local);
  const std::int32_t mine = outcome.kind == Kind::none ? comm.size() : comm.rank();
  const auto failing = all_reduce_value(comm, mine, Op::min);
  if (failing == comm.size()) return;
  std::array<std::int32_t, 2> header{static_cast<std::int32_t>(outcome.kind),
                                     static_cast<std::int32_t>(outcome.code)};
  broadcast_from(comm, failing, std::span<std::int32_t>(header));
  outcome.kind = static_cast<Kind>(header[0]);
  outcome.code = static_cast<ExitCode>(header[1]);
  outcome.message = broadcast_string(comm, failing, std::move(outcome.message));
  throw_outcome(outcome);
}

bool any_of(Communicator& comm, bool local) {
  return all_reduce_value(comm, std::int32_t{local}, Op::max) != 0;
}

}  // namespace quench::cluster
