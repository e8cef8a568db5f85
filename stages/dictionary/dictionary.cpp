#include "stages/dictionary/dictionary.hpp"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <optional>

#include "cluster/collectives.hpp"
#include "cluster/error.hpp"
#include "cluster/hash.hpp"
#include "cluster/log.hpp"
#include "cluster/partition.hpp"
#include "cluster/progress.hpp"
#include "stages/dictionary/alternation.hpp"
#include "stages/dictionary/concept_batch.hpp"
#include "stages/dictionary/cost_model.hpp"
#include "stages/dictionary/device_place.hpp"
#include "stages/dictionary/dictionary_file.hpp"
#include "stages/dictionary/fit_record.hpp"
#include "stages/dictionary/half_product.hpp"
#include "stages/dictionary/initial_file.hpp"
#include "stages/factorisation/resume.hpp"

namespace quench::dictionary {

namespace {

constexpr auto stage_name = "dictionary";
constexpr std::int64_t key_length = 64;  // hex digits of a SHA-256

std::string fingerprint_of(const Options& options) {
  auto copy = options;
  OptionTable table;
  describe(copy, table);
  return table.fingerprint({"dictionary."},
                           {"dictionary.batch", "dictionary.checkpoint", "dictionary.init_file"});
}

std::int64_t vocab_of(const Inputs& inputs) {
  return static_cast<std::int64_t>(inputs.embedding.size()) / inputs.width;
}

// Of everything that decides a factorisation and nothing else.
std::string key_of(const Inputs& inputs, const std::string& purpose,
                   const std::vector<std::int32_t>& tokens, const std::string& options) {
  const auto bytes = std::as_bytes(std::span(tokens));
  return cluster::Sha256()
      .field(stage_name)
      .field(std::to_string(schema))
      .field(options)
      .field(inputs.embedding_hash)
      .field(inputs.initial_hash)
      .field(std::to_string(std::bit_cast<std::uint64_t>(inputs.scale)))
      .field(purpose)
      .field({reinterpret_cast<const char*>(bytes.data()), bytes.size()})
      .hex();
}

// One factorisation and its checkpoint.
struct Job {
  const Inputs& inputs;
  const Options& options;
  cluster::Context& context;
  const SharedTokenGram* shared_gram;  // may be null
  const InitialFile* initial_file;     // may be null
  const DevicePlace* device;           // may be null
  std::filesystem::path checkpoint;
  std::function<void(std::int64_t, double)> progress;
};

// The steps of a fit beside its whole time, in the run's timings.
void add_steps(const Fit::Seconds& seconds, cluster::Timers& timers) {
  timers.add("kernel/factorise/start", seconds.start);
  timers.add("kernel/factorise/systems", seconds.systems);
  timers.add("kernel/factorise/dense", seconds.dense);
  timers.add("kernel/factorise/winners", seconds.winners);
  timers.add("kernel/factorise/sparse", seconds.sparse);
  timers.add("kernel/factorise/communication", seconds.communication);
}

// Collective over the group; rank 0 has the whole of it.
Fit fit_tokens(const Job& job, std::vector<std::int32_t> tokens, const std::string& purpose,
               cluster::Communicator& group) {
  std::optional<Shard> shard;
  cluster::agree(group, [&] { shard.emplace(make_shard(job.inputs, tokens, group)); });
  shard->device = job.device;
  if (job.shared_gram != nullptr && !job.inputs.shared_tokens.empty())
    shard->token_gram = [&](const Rows& rows) { return job.shared_gram->of(rows, tokens); };
  const auto initial = initial_rows(*shard, tokens, job.options, purpose, job.initial_file, group);
  FitHooks hooks;
  hooks.stop = [&] { return job.context.stop.requested(); };
  hooks.save = [&](const FitState& now) {
    cluster::agree(group, [&] {
      if (group.rank() == 0) save_state(job.checkpoint, now);
    });
  };
  hooks.resume = [&] {
    return resumed_state(stage_name, job.checkpoint, load_state,
                         *cluster::make_self_communicator());
  };
  hooks.progress = job.progress;
  try {
    auto fit = factorise(*shard, initial, job.options, group, hooks);
    add_steps(fit.seconds, job.context.timers);
    fit.factors.tokens = std::move(tokens);
    return fit;
  } catch (const c10::Error& error) {
    if (job.device == nullptr) throw;
    throw ClusterError(
        std::string("dictionary: the device failed (run.device = cpu does without): ") +
        error.what_without_backtrace());
  }
}

std::filesystem::path checkpoint_of(const cluster::Context& context, const std::string& key) {
  return context.run_directory / "journals" / stage_name / (key + ".fit");
}

// Collective. Each rank reads the token lists of its share; all ranks get all tasks, whose cost is
// the number of tokens.
std::vector<cluster::Task> make_tasks(const Inputs& inputs, const Options& options,
                                      const InitialFile* initial_file,
                                      cluster::Communicator& comm) {
  const auto fingerprint = fingerprint_of(options);
  std::string keys;
  std::vector<std::int64_t> costs;
  cluster::agree(comm, [&] {
    const auto own = cluster::rows_of(inputs.concepts, comm.size(), comm.rank());
    for (auto c = own.begin; c < own.end; ++c) {
      const auto tokens = inputs.tokens(c);
      if (initial_file != nullptr) initial_file->require(tokens);
      keys += key_of(inputs, inputs.concept_hash(c), tokens, fingerprint);
      costs.push_back(std::ssize(tokens));
    }
  });
  const auto all_keys = cluster::all_gather(comm, std::span<const char>(keys));
  const auto all_costs = cluster::all_gather(comm, std::span<const std::int64_t>(costs));
  std::vector<cluster::Task> tasks(inputs.concepts);
  for (std::int64_t c = 0; c < inputs.concepts; ++c) {
    tasks[c] = {std::string(all_keys.values.data() + c * key_length, key_length),
                static_cast<double>(all_costs.values[c]),
                inputs.name ? "'" + inputs.name(c) + "'" : ""};
  }
  return tasks;
}

std::string count_text(double count) { return std::to_string(std::llround(count)); }

// What was chosen and how right the prediction was, told once for the whole stage. Collective.
void log_cost(const Block& block, cluster::Communicator& comm) {
  enum : std::size_t { measured, predicted, of_form };
  constexpr Form forms[] = {Form::bounded, Form::streamed, Form::gram, Form::batched, Form::device};
  std::vector<double> sums(of_form + std::size(forms), 0);
  for (std::size_t i = 0; i < block.forms.size(); ++i) {
    if (block.forms[i].empty()) continue;
    sums[measured] += block.seconds[i];
    sums[predicted] += block.predicted_seconds[i];
    ++sums[of_form + static_cast<std::size_t>(form_named(block.forms[i]))];
  }
  cluster::all_reduce_sum(comm, std::span<double>(sums));
  std::string counts;
  for (const auto form : forms)
    if (const auto count = sums[of_form + static_cast<std::size_t>(form)]; count > 0)
      counts += (counts.empty() ? "" : ", ") + count_text(count) + " " + name_of(form);
  if (comm.rank() != 0 || counts.empty()) return;
  cluster::log_info("dictionary: factorisations: " + counts + "; " +
                    cluster::format_duration(sums[measured]) + " of a group, predicted " +
                    cluster::format_duration(sums[predicted]));
}

// Of one factorisation of so many tokens, on the device of each rank of the group.
double device_bytes_of(std::int64_t tokens, const Inputs& inputs, const Options& options,
                       const cluster::Communicator& group) {
  const FitShape shape{tokens, inputs.width, options.rank,
                       kept_per_feature(tokens, options.density), group.size()};
  return predict(shape, Form::device).resident_bytes;
}

// Collective over the world.
Block factorise_concepts(const Inputs& inputs, const Options& options,
                         const InitialFile* initial_file, cluster::Context& context) {
  auto& comm = context.world();
  const auto tasks = make_tasks(inputs, options, initial_file, comm);
  const SharedTokenGram shared_gram(inputs.shared_tokens, [&] {
    return make_shard(inputs, inputs.shared_tokens, *cluster::make_self_communicator()).rows;
  });
  std::optional<GroupDevice> device;  // of a group that shares factorisations
  if (auto& group = context.session.group(); group.size() > 1 && !tasks.empty()) {
    const auto largest = std::ranges::max_element(tasks, {}, &cluster::Task::cost)->cost;
    cluster::agree(comm, [&] {  // groups must hear of the error of another one
      device.emplace(context.session, group,
                     device_bytes_of(static_cast<std::int64_t>(largest), inputs, options, group));
    });
  }
  const auto job_of = [&](std::int64_t c) {
    return Job{inputs,
               options,
               context,
               &shared_gram,
               initial_file,
               device ? device->place() : nullptr,
               checkpoint_of(context, tasks[c].key),
               {}};
  };
  ConceptBatch batch(
      inputs, options, initial_file,
      [&](std::int64_t c) { return checkpoint_of(context, tasks[c].key); }, context);
  cluster::Bundles bundles;
  if (const auto size = batch_size(inputs, options, context, tasks); size > 0) {
    bundles.size = size;
    bundles.begin = [&](std::span<const std::int64_t> concepts) {
      const auto timer = context.timers.scope("kernel/factorise");
      batch.factorise(concepts);
    };
  }
  const auto results = cluster::run_tasks(
      context, stage_name, tasks,
      [&](std::int64_t c, cluster::Communicator& group) {
        if (const auto fit = batch.take(c)) return pack(*fit);
        const auto timer = context.timers.scope("kernel/factorise");
        const auto fit = fit_tokens(job_of(c), inputs.tokens(c), inputs.concept_hash(c), group);
        return group.rank() == 0 ? pack(fit) : std::string{};  // the leader's is journalled
      },
      bundles);
  if (inputs.concepts > 0 && results.failures() == inputs.concepts)
    throw DataError("no concept could be factorised; the first: " + results.failure(0));
  Block block;
  block.width = inputs.width;
  block.failed = results.failures();
  cluster::agree(comm, [&] {
    const auto own = cluster::rows_of(inputs.concepts, comm.size(), comm.rank());
    for (auto c = own.begin; c < own.end; ++c) {
      const auto failure = results.failure(c);
      append(block, failure.empty() ? unpack(results.read(c)) : Fit{}, failure);
    }
  });
  return block;
}

// Every token of the catalog's text, or of the vocabulary. Collective.
std::vector<std::int32_t> joint_tokens(const Inputs& inputs, const Options& options,
                                       cluster::Communicator& comm) {
  const auto vocab = vocab_of(inputs);
  std::vector<std::uint8_t> used(vocab, options.scope == "vocabulary" ? 1 : 0);
  if (options.scope == "catalog") {
    cluster::agree(comm, [&] {
      const auto own = cluster::rows_of(inputs.concepts, comm.size(), comm.rank());
      for (auto c = own.begin; c < own.end; ++c)
        for (const auto token : inputs.tokens(c)) used.at(token) = 1;
    });
    comm.all_reduce(cluster::buffer_of(std::span<std::uint8_t>(used)), cluster::Op::max);
  }
  std::vector<std::int32_t> out;
  for (std::int32_t token = 0; token < vocab; ++token)
    if (used[token] != 0 && !inputs.is_special(token)) out.push_back(token);
  return out;
}

// Collective over the world; the block is rank 0's.
Block factorise_jointly(const Inputs& inputs, const Options& given, const InitialFile* initial_file,
                        cluster::Context& context) {
  auto& comm = context.world();
  auto options = given;
  options.form = form_of(given);
  auto tokens = joint_tokens(inputs, options, comm);
  if (initial_file != nullptr) cluster::agree(comm, [&] { initial_file->require(tokens); });
  const std::string purpose = "joint";
  const auto key = key_of(inputs, purpose, tokens, fingerprint_of(given));
  const GroupDevice device(context.session, comm,
                           device_bytes_of(std::ssize(tokens), inputs, options, comm));
  Job job{
      inputs, options, context, nullptr, initial_file, device.place(), checkpoint_of(context, key),
      {}};
  cluster::agree(comm, [&] {
    if (context.is_root()) std::filesystem::create_directories(job.checkpoint.parent_path());
  });
  auto last = std::chrono::steady_clock::now();
  job.progress = [&](std::int64_t iteration, double objective) {
    const auto now = std::chrono::steady_clock::now();
    if (!context.is_root() || context.quiet || now - last < std::chrono::seconds(10)) return;
    last = now;
    cluster::log_info("dictionary: iteration " + std::to_string(iteration) + ", objective " +
                      std::to_string(objective));
  };
  auto fit = [&] {
    try {
      return fit_tokens(job, std::move(tokens), purpose, comm);
    } catch (Stopped& error) {
      error.mark_agreed();  // all ranks ask for it in the same iteration
      throw;
    } catch (DataError& error) {
      if (job.device == nullptr) error.mark_agreed();  // processors solve the same systems
      throw;
    }
  }();
  Block block;
  block.width = inputs.width;
  if (context.is_root()) append(block, std::move(fit), "");
  return block;
}

}  // namespace

void describe(Options& options, OptionTable& table) {
  table.add_choice("dictionary.scope", options.scope,
                   "a factorisation for each concept, or one joint dictionary of the tokens of the "
                   "whole catalog or of the vocabulary",
                   {"concept", "catalog", "vocabulary"});
  table.add("dictionary.rank", options.rank, "features a factorisation (K)", {1, 65536});
  table.add("dictionary.density", options.density, "share of a feature's coefficients kept (rho)",
            {1e-9, 1});
  table.add("dictionary.ridge", options.ridge,
            "first try of lambda; raised tenfold, up to three times, when a system is singular",
            {1e-300, 1e300});
  table.add_choice(
      "dictionary.form", options.form,
      "how an iteration is done: gram holds the tokens' inner products, bounded skips "
      "entries that cannot win, streamed never holds them all, auto takes the cheapest",
      {"auto", "gram", "bounded", "streamed"});
  table.add_choice("dictionary.init", options.init,
                   "initial coefficients (G_0): keyed normal numbers, singular vectors, or those "
                   "of dictionary.init_file",
                   {"normal", "svd", "file"});
  table.add("dictionary.init_file", options.init_file,
            "HDF5 file with a row of initial coefficients for each token (docs/file-formats.md, "
            "initial.h5)");
  describe(options, table, "dictionary");
  table.add("dictionary.batch", options.batch,
            "concepts factorised together on one device; 0: 16 on a GPU, 1 on the CPU", {0, 4096});
  table.add("dictionary.checkpoint", options.checkpoint,
            "seconds between checkpoints inside a factorisation", {0, 1e9});
  table.add("dictionary.seed", options.seed, "seed of the initial coefficients");
}

std::string form_of(const Options& options) {
  return options.scope != "concept" && options.form == "auto" ? "streamed" : options.form;
}

Dictionaries run(const Inputs& inputs, const Options& options, cluster::Context& context) {
  auto& comm = context.world();
  const bool joint = options.scope != "concept";
  std::optional<InitialFile> initial_file;
  if (options.init == "file")
    cluster::agree(
        comm, [&] { initial_file.emplace(options.init_file, options.rank, vocab_of(inputs)); });
  const auto* given = initial_file ? &*initial_file : nullptr;
  const auto block = joint ? factorise_jointly(inputs, options, given, context)
                           : factorise_concepts(inputs, options, given, context);
  log_cost(block, comm);
  const auto path = context.run_directory / "dictionary.h5";
  write(comm, path, {stage_name, schema, inputs.run_id, inputs.inputs_hash}, block, inputs.scale,
        joint);
  cluster::remove_journals(context, stage_name);
  return Dictionaries(path);
}

}  // namespace quench::dictionary
