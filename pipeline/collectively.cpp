#include "pipeline/collectively.hpp"

#include <cstdio>
#include <filesystem>

namespace quench::pipeline {

namespace {

ExitCode fail(cluster::Session& session, ExitCode code, const char* message, bool agreed) {
  auto& world = session.world();
  const bool alone = world.size() > 1 && !agreed;
  if (alone) {
    std::fprintf(stderr, "quench: rank %d: %s\n", world.rank(), message);
    cluster::Session::abort(static_cast<int>(code));
  }
  if (world.rank() == 0) std::fprintf(stderr, "quench: %s\n", message);
  return code;
}

}  // namespace

ExitCode collectively(cluster::Session& session, const std::function<ExitCode()>& body) {
  try {
    return body();
  } catch (const Error& error) {
    return fail(session, error.code(), error.what(), error.agreed());
  } catch (const std::filesystem::filesystem_error& error) {
    return fail(session, ExitCode::usage, error.what(), false);
  } catch (const std::exception& error) {
    const std::string message = std::string("internal error: ") + error.what();
    return fail(session, ExitCode::internal, message.c_str(), false);
  }
}

}  // namespace quench::pipeline
