#include "stages/dictionary/dictionary.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <bit>

#include "cluster/collectives.hpp"
#include "cluster/error.hpp"
#include "cluster/hash.hpp"
#include "cluster/partition.hpp"
#include "stages/dictionary/fit_record.hpp"

namespace quench::dictionary {

namespace {

constexpr auto stage_name = "dictionary";
constexpr std::int64_t key_length = 64;  // hex digits of a SHA-256

cluster::Range own_concepts(const Inputs& inputs, cluster::Communicator& comm) {
  return cluster::rows_of(inputs.concepts, comm.size(), comm.rank());
}

// Of everything that decides a factorisation and nothing else.
std::string key_of(const Inputs& inputs, std::int64_t concept_index,
                   const std::vector<std::int32_t>& tokens, const std::string& options) {
  const auto bytes = std::as_bytes(std::span(tokens));
  return cluster::Sha256()
      .field(stage_name)
      .field(std::to_string(schema))
      .field(options)
      .field(inputs.embedding_hash)
      .field(std::to_string(std::bit_cast<std::uint64_t>(inputs.scale)))
      .field(inputs.concept_hash(concept_index))
      .field({reinterpret_cast<const char*>(bytes.data()), bytes.size()})
      .hex();
}

// Collective. Each rank reads the token lists of its share; all ranks get all tasks.
std::vector<cluster::Task> make_tasks(const Inputs& inputs, const Options& options,
                                      cluster::Communicator& comm) {
  auto copy = options;
  OptionTable table;
  describe(copy, table);
  const auto fingerprint = table.fingerprint({"dictionary."});
  std::string keys;
  std::vector<std::int64_t> costs;
  cluster::agree(comm, [&] {
    const auto own = own_concepts(inputs, comm);
    for (auto c = own.begin; c < own.end; ++c) {
      const auto tokens = inputs.tokens(c);
      keys += key_of(inputs, c, tokens, fingerprint);
      costs.push_back(static_cast<std::int64_t>(tokens.size()));
    }
  });
  const auto all_keys = cluster::all_gather(comm, std::span<const char>(keys));
  const auto all_costs = cluster::all_gather(comm, std::span<const std::int64_t>(costs));
  std::vector<cluster::Task> tasks(inputs.concepts);
  for (std::int64_t c = 0; c < inputs.concepts; ++c) {
    tasks[c] = {std::string(all_keys.values.data() + c * key_length, key_length),
                static_cast<double>(all_costs.values[c])};
  }
  return tasks;
}

// A^T of a concept: the scaled embedding rows of its tokens.
at::Tensor gather_rows(const Inputs& inputs, const std::vector<std::int32_t>& tokens) {
  const auto width = inputs.width;
  const auto vocab = static_cast<std::int64_t>(inputs.embedding.size()) / width;
  auto out = at::empty({static_cast<std::int64_t>(tokens.size()), width}, at::kFloat);
  float* row = out.mutable_data_ptr<float>();
  for (const auto token : tokens) {
    if (token < 0 || token >= vocab) {
      throw DataError("token " + std::to_string(token) + " is outside of the embedding of " +
                      std::to_string(vocab) +
                      " rows; tokenizer and weights are of different models");
    }
    const auto stored = inputs.embedding.subspan(token * width, width);
    row = std::transform(stored.begin(), stored.end(), row,
                         [&](float value) { return static_cast<float>(value * inputs.scale); });
  }
  return out;
}

std::string factorise_concept(const Inputs& inputs, const Options& options,
                              std::int64_t concept_index) {
  auto tokens = inputs.tokens(concept_index);
  const auto rows = gather_rows(inputs, tokens);
  const std::span<const float> columns(rows.const_data_ptr<float>(), rows.numel());
  return pack(factorise(columns, std::move(tokens), inputs.width, options,
                        inputs.concept_hash(concept_index)));
}

// One rank's block of concepts, laid out as dictionary.h5 is.
struct Block {
  std::vector<std::int64_t> ranks, best_iterations;  // of each concept
  std::vector<double> ridges;
  std::vector<std::string> stop_reasons, failures;
  std::vector<std::vector<std::int32_t>> tokens;
  std::vector<std::vector<double>> objectives;
  std::vector<float> features;                  // [sum K, d]
  std::vector<std::vector<std::int32_t>> rows;  // of each feature
  std::vector<std::vector<float>> coefficients;
};

void append(Block& block, Fit fit, std::string failure) {
  const auto& factors = fit.factors;
  const auto kept = factors.per_feature();
  for (std::int64_t k = 0; k < factors.rank; ++k) {
    const auto first = k * kept;
    block.rows.emplace_back(factors.rows.begin() + first, factors.rows.begin() + first + kept);
    block.coefficients.emplace_back(factors.coefficients.begin() + first,
                                    factors.coefficients.begin() + first + kept);
  }
  block.features.insert(block.features.end(), factors.features.begin(), factors.features.end());
  block.ranks.push_back(factors.rank);
  block.best_iterations.push_back(fit.best_iteration);
  block.ridges.push_back(fit.ridge);
  block.stop_reasons.push_back(std::move(fit.stop_reason));
  block.failures.push_back(std::move(failure));
  block.tokens.push_back(std::move(fit.factors.tokens));
  block.objectives.push_back(std::move(fit.objective));
}

Block read_block(const cluster::TaskResults& results, cluster::Range own) {
  Block block;
  for (auto c = own.begin; c < own.end; ++c) {
    const auto failure = results.failure(c);
    append(block, failure.empty() ? unpack(results.read(c)) : Fit{}, failure);
  }
  return block;
}

void write(const Inputs& inputs, const Block& block, std::int64_t failures,
           cluster::Context& context) {
  auto& comm = context.world();
  cluster::StoreWriter writer(comm, context.run_directory / "dictionary.h5",
                              {stage_name, schema, inputs.run_id, inputs.inputs_hash});
  writer.write_rows<std::int64_t>("concepts/feature_count", block.ranks, {}, {{"concept"}, ""});
  writer.write_rows<float>("features/vectors", block.features, {inputs.width},
                           {{"feature", "width"}, "scaled embedding"});
  writer.write_ragged("g/rows", block.rows, {{"feature"}, ""});
  writer.write_ragged("g/values", block.coefficients, {{"feature"}, ""});
  writer.write_ragged("concepts/tokens", block.tokens, {{"concept"}, ""});
  writer.write_ragged("concepts/objective", block.objectives,
                      {{"concept"}, "squared scaled embedding"});
  writer.write_rows<double>("concepts/ridge", block.ridges, {}, {{"concept"}, ""});
  writer.write_rows<std::int64_t>("concepts/best_iteration", block.best_iterations, {},
                                  {{"concept"}, "iterations"});
  writer.write_strings("concepts/stop_reason", block.stop_reasons, {{"concept"}, ""});
  writer.write_strings("concepts/failure", block.failures, {{"concept"}, ""});
  writer.attribute("/", "failures", failures);
  writer.attribute("/", "embedding_scale", inputs.scale);
  writer.finish();
}

}  // namespace

void describe(Options& options, OptionTable& table) {
  table.add("dictionary.rank", options.rank, "features a concept (K)", {1, 65536});
  table.add("dictionary.density", options.density, "share of a feature's coefficients kept (rho)",
            {1e-9, 1});
  table.add("dictionary.ridge", options.ridge,
            "first try of lambda; raised tenfold, up to three times, when a system is singular",
            {1e-300, 1e300});
  table.add_choice("dictionary.stop", options.stop,
                   "when to stop: relative progress over a window, or the reference's patience",
                   {"progress", "patience"});
  table.add("dictionary.max_iterations", options.max_iterations, "iterations at most", {1, 1e9});
  table.add("dictionary.patience", options.patience,
            "patience: iterations without an improvement above the tolerance", {1, 1e9});
  table.add("dictionary.tolerance", options.tolerance,
            "patience: least improvement, absolute, of the objective", {0, 1e300});
  table.add("dictionary.window", options.window, "progress: iterations looked back", {1, 1e9});
  table.add("dictionary.progress", options.progress,
            "progress: least relative decrease of the best objective over the window", {0, 1});
  table.add("dictionary.seed", options.seed, "seed of the initial coefficients");
}

Dictionaries::Dictionaries(const std::filesystem::path& file)
    : store_(file, stage_name, schema), feature_offsets_{0} {
  for (const auto features : store_.read<std::int64_t>("concepts/feature_count"))
    feature_offsets_.push_back(feature_offsets_.back() + features);
}

Factors Dictionaries::factors(std::int64_t concept_index) const {
  const cluster::Range features{feature_offsets_.at(concept_index),
                                feature_offsets_.at(concept_index + 1)};
  Factors out;
  out.rank = features.size();
  out.width = store_.shape("features/vectors").at(1);
  if (out.rank == 0) return out;
  const cluster::Range row{concept_index, concept_index + 1};
  out.tokens = store_.read_ragged<std::int32_t>("concepts/tokens", row).at(0);
  out.features = store_.read_rows<float>("features/vectors", features);
  for (const auto& rows : store_.read_ragged<std::int32_t>("g/rows", features))
    out.rows.insert(out.rows.end(), rows.begin(), rows.end());
  for (const auto& values : store_.read_ragged<float>("g/values", features))
    out.coefficients.insert(out.coefficients.end(), values.begin(), values.end());
  return out;
}

std::string Dictionaries::failure(std::int64_t concept_index) const {
  return store_.read_strings("concepts/failure", {concept_index, concept_index + 1}).at(0);
}

Dictionaries run(const Inputs& inputs, const Options& options, cluster::Context& context) {
  auto& comm = context.world();
  const auto tasks = make_tasks(inputs, options, comm);
  const auto results = cluster::run_tasks(
      context, stage_name, tasks, [&](std::int64_t c, cluster::Communicator& group) {
        const auto timer = context.timers.scope("kernel/factorise");
        return group.rank() == 0 ? factorise_concept(inputs, options, c) : std::string();
      });
  if (inputs.concepts > 0 && results.failures() == inputs.concepts)
    throw DataError("no concept could be factorised; the first: " + results.failure(0));
  Block block;
  cluster::agree(comm, [&] { block = read_block(results, own_concepts(inputs, comm)); });
  write(inputs, block, results.failures(), context);
  cluster::remove_journals(context, stage_name);
  return Dictionaries(context.run_directory / "dictionary.h5");
}

}  // namespace quench::dictionary
