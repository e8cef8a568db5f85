#include <optional>

#include "cluster/collectives.hpp"
#include "stages/evaluation/baseline_cache.hpp"
#include "stages/evaluation/codec.hpp"
#include "stages/evaluation/evaluation.hpp"
#include "stages/evaluation/pieces.hpp"

namespace quench::evaluation {

namespace {

// Base margins of the concepts among a rank's pieces, in the catalog's order.
struct KnowledgeRows {
  std::vector<double> margin, low, high;
  std::vector<std::uint8_t> known;

  void add(const Estimate& estimate) {
    margin.push_back(estimate.value);
    low.push_back(estimate.interval.low);
    high.push_back(estimate.interval.high);
    known.push_back(estimate.interval.low > 0 ? 1 : 0);
  }
};

Estimate knowledge_of(const std::vector<Probe>& probes, std::span<const Measurement> measured,
                      const std::string& hash) {
  // A number of its own: whether a concept is known hangs on no option.
  constexpr std::int64_t resamples = 1000;
  std::vector<Pair> pairs;
  for (std::size_t i = 0; i < probes.size(); ++i) {
    pairs.push_back({&probes[i], &measured[i], &measured[i]});
  }
  return base_margin(pairs, resamples, hash);
}

std::vector<cluster::Task> make_tasks(const BaselineInputs& inputs,
                                      const std::vector<Piece>& pieces) {
  std::vector<cluster::Task> tasks;
  for (const auto& piece : pieces) {
    // inputs_hash covers corpus, model and how probes are put; the ids name the piece in it.
    tasks.push_back({key_of({"baseline", inputs.inputs_hash, std::to_string(piece.ids.begin),
                             std::to_string(piece.ids.end)}),
                     static_cast<double>(piece.ids.size())});
  }
  return tasks;
}

// What the base model says to a piece, from the cache where it is there. Collective over the group.
std::vector<Measurement> measure_piece(cluster::Communicator& group, const BaselineInputs& inputs,
                                       const BaselineCache& cache,
                                       const std::vector<Probe>& probes) {
  std::string kept;
  if (group.rank() == 0) {
    if (const auto found = cache.find(probes)) kept = pack(*found);
  }
  kept = cluster::broadcast_string(group, 0, kept);
  if (!kept.empty()) return unpack(kept);
  auto measured = inputs.meter->measure(group, *inputs.base, probes, {});
  if (group.rank() == 0) cache.keep(probes, measured);
  return measured;
}

void write(const BaselineInputs& inputs, cluster::Context& context,
           const std::vector<Piece>& pieces, const cluster::TaskResults& results) {
  auto& world = context.world();
  PieceReader reader(inputs.probes);
  std::vector<Measurement> local;
  KnowledgeRows knowledge;
  cluster::agree(world, [&] {
    const auto mine = cluster::rows_of(std::ssize(pieces), world.size(), world.rank());
    for (auto i = mine.begin; i < mine.end; ++i) {
      if (const auto why = results.failure(i); !why.empty()) {
        throw InternalError("baseline: the base model could not be measured: " + why);
      }
      auto measured = unpack(results.read(i));
      if (const auto c = pieces[i].concept_index; c >= 0) {
        knowledge.add(knowledge_of(reader.probes(pieces[i]), measured, inputs.probes.hash(c)));
      }
      std::move(measured.begin(), measured.end(), std::back_inserter(local));
    }
  });
  cluster::StoreWriter store(world, context.run_directory / "baseline.h5",
                             {"baseline", schema, inputs.run_id, inputs.inputs_hash});
  write_measurements(store, "measurements", local);
  const cluster::Axes nats{{"concept"}, "nats a token"};
  store.write_rows<double>("knowledge/margin", knowledge.margin, {}, nats);
  store.write_rows<double>("knowledge/low", knowledge.low, {}, nats);
  store.write_rows<double>("knowledge/high", knowledge.high, {}, nats);
  store.write_rows<std::uint8_t>("knowledge/known", knowledge.known, {}, {{"concept"}, ""});
  store.attribute("/", "failures", std::int64_t{0});
  store.finish();
}

}  // namespace

Measurements run_baseline(const BaselineInputs& inputs, cluster::Context& context) {
  const auto pieces = make_pieces(inputs.probes);
  PieceReader reader(inputs.probes);
  const auto tasks = make_tasks(inputs, pieces);
  std::optional<BaselineCache> cache;
  cluster::agree(context.world(),
                 [&] { cache.emplace(inputs.cache, inputs.model_hash, inputs.meter->options()); });
  const auto results = cluster::run_tasks(
      context, "baseline", tasks, [&](std::int64_t i, cluster::Communicator& group) {
        return pack(measure_piece(group, inputs, *cache, reader.probes(pieces[i])));
      });
  write(inputs, context, pieces, results);
  cluster::remove_journals(context, "baseline");
  return {context.run_directory / "baseline.h5", "baseline", "measurements"};
}

std::vector<Knowledge> read_knowledge(const std::filesystem::path& baseline_file) {
  const cluster::StoreReader store(baseline_file, "baseline", schema);
  const auto margin = store.read<double>("knowledge/margin");
  const auto low = store.read<double>("knowledge/low");
  const auto high = store.read<double>("knowledge/high");
  const auto known = store.read<std::uint8_t>("knowledge/known");
  std::vector<Knowledge> list;
  for (std::size_t c = 0; c < margin.size(); ++c) {
    list.push_back({{margin[c], {low[c], high[c]}}, known[c] != 0});
  }
  return list;
}

Measurements::Measurements(const std::filesystem::path& file, const std::string& stage,
                           const std::string& group)
    : store_(file, stage, schema), group_(group) {}

std::vector<Measurement> Measurements::read(cluster::Range ids) const {
  auto values = store_.read_ragged<float>(group_ + "/values", ids);
  auto answers = store_.read_ragged<std::int32_t>(group_ + "/answers", ids);
  std::vector<Measurement> list(values.size());
  for (std::size_t i = 0; i < list.size(); ++i) {
    list[i] = {std::move(values[i]), std::move(answers[i]), false};
  }
  return list;
}

}  // namespace quench::evaluation
