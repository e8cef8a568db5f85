#include "pipeline/run.hpp"

#include <ATen/Parallel.h>

#include "cluster/collectives.hpp"
#include "cluster/log.hpp"
#include "pipeline/inputs.hpp"
#include "pipeline/road.hpp"
#include "stages/report/report.hpp"

namespace quench::pipeline {

namespace {

void warn_about_idle_cores(const cluster::Session& session, bool root) {
  const auto& topology = session.topology();
  if (root && !topology.advice.empty()) cluster::log_warning(topology.advice);
}

void write_report(cluster::Context& context, const report::Options& options,
                  const std::set<std::string>& sensitive) {
  cluster::agree(context.world(), [&] {
    if (!context.is_root()) return;
    const auto summary = report::write_report(context.run_directory, options, sensitive);
    std::fputs(summary.table.c_str(), stdout);
    std::printf("\nreport: %s\n", summary.page.c_str());
  });
}

// Collective.
void take_device(cluster::Session& session, const std::string& choice) {
  const auto note = session.use_device(choice);
  if (session.world().rank() > 0) return;
  if (!note.empty()) cluster::log_warning(note);
  cluster::log_info("device: " + cluster::describe(session.device()) +
                    (session.device().is_cuda() ? " for dictionary, the CPU for the rest" : ""));
}

// logs/r00000.log, ...: what each rank had to say. Collective.
void start_rank_log(cluster::Communicator& world, const std::filesystem::path& run_directory) {
  cluster::agree(world, [&] {
    std::error_code code;
    std::filesystem::create_directories(run_directory / "logs", code);
    if (code)
      throw DataError((run_directory / "logs").string() + ": cannot be made: " + code.message());
    char name[32];
    std::snprintf(name, sizeof name, "r%05d.log", world.rank());
    cluster::log_to_file(run_directory / "logs" / name, world.rank());
  });
}

// What ended the run is to be told, not that a full disk has no room for a note of it.
void note_early_end(RunDirectory& directory, cluster::Session& session, const Error& error) {
  try {
    const bool waiting = error.code() == ExitCode::waiting;
    directory.finish(session,
                     (waiting ? "waiting: " : "ended early: ") + std::string(error.what()));
  } catch (const DataError&) {
    cluster::log_warning("manifest.json could not be brought up to date");
  }
}

// Collective.
void keep_timers(RunDirectory& directory, cluster::Session& session,
                 const cluster::Timers& timers) {
  try {
    directory.save_timers(session, timers);
  } catch (const DataError&) {
    cluster::log_warning("timings.json could not be brought up to date");
  }
}

}  // namespace

ExitCode run(cluster::Session& session, const Configuration& configuration,
             const RunRequest& request) {
  at::set_num_threads(session.topology().threads);
  const bool root = session.world().rank() == 0;
  warn_about_idle_cores(session, root);
  take_device(session, configuration.run.device);
  const auto inputs = open_inputs(session, configuration);

  cluster::StopFlag stop;
  if (configuration.run.time_limit > 0) {
    stop.set_deadline(
        std::chrono::steady_clock::now() +
        std::chrono::milliseconds(static_cast<std::int64_t>(configuration.run.time_limit * 60e3)));
  }
  RunDirectory directory(session, configuration.run.directory, inputs.identity, request.command,
                         request.accept_changes);
  cluster::Timers timers;
  session.time_collectives(timers, configuration.run.watchdog);
  start_rank_log(session.world(), directory.path());
  cluster::Context context{session, stop, timers, directory.path(), request.quiet};
  try {
    Road road(configuration, context, inputs, directory);
    {
      const auto total = timers.scope("stage/all");
      road.travel();
    }
    directory.save_timers(session, timers);
    cluster::agree(session.world(), [&] {
      directory.finish(session, !road.waits_for().empty() ? "waiting: " + road.waits_for()
                                : road.failures() == 0    ? "done"
                                                          : "some tasks failed");
    });
    write_report(context, configuration.report, inputs.identity.sensitive);
    if (!road.waits_for().empty()) {
      if (root) cluster::log_info("waiting: " + road.waits_for());
      return ExitCode::waiting;
    }
    return road.failures() == 0 ? ExitCode::done : ExitCode::some_failed;
  } catch (const Error& error) {
    if (error.agreed()) keep_timers(directory, session, timers);
    note_early_end(directory, session, error);
    throw;
  }
}

}  // namespace quench::pipeline
