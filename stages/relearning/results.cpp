#include "stages/relearning/results.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>

#include "cluster/collectives.hpp"
#include "cluster/error.hpp"

namespace quench::relearning {

using nlohmann::json;

namespace {

// As a row of the columns of figure_columns().
std::vector<double> to_row(const std::vector<Estimate>& figures) {
  std::vector<double> row;
  for (const auto& e : figures)
    row.insert(row.end(), {e.value, e.interval.low, e.interval.high, static_cast<double>(e.n)});
  return row;
}

void append(std::vector<double>& to, const std::vector<double>& row) {
  to.insert(to.end(), row.begin(), row.end());
}

std::vector<std::string> figure_columns() {
  std::vector<std::string> columns;
  for (const auto& name : figure_names())
    columns.insert(columns.end(), {name, name + "_low", name + "_high", name + "_n"});
  return columns;
}

// An attack's curve out of the journal; empty: it failed.
struct Curve {
  std::vector<std::int64_t> steps, counts;
  std::vector<double> losses, figures;
  std::vector<float> values;
};

Curve unpack(const std::string& payload) {
  const json curve = json::from_cbor(payload);
  return {curve[0], curve[1], curve[2], curve[3], curve[4]};
}

// The attacks on one concept from one start that ended well; all of as many steps.
struct Start {
  std::int64_t concept_index = 0;
  bool erased = true;
  std::vector<std::int64_t> seeds, steps;
  std::vector<std::vector<Said>> said;  // [seed][point]

  SeedsSaid at(std::size_t point) const {
    SeedsSaid all{concept_index, seeds, {}};
    for (const auto& curve : said) all.by_seed.push_back(curve[point]);
    return all;
  }
};

// What this rank writes: whole concepts, so that the seeds of one meet.
struct Share {
  std::vector<Attack> attacks;
  std::vector<Curve> curves;  // of each attack
  std::vector<Start> starts;  // of each concept, those from the erased model first

  // A number of each attack, or a row of its curve.
  template <typename T, typename Of>
  std::vector<T> column(const Of& of) const {
    std::vector<T> all;
    for (const auto& attack : attacks) all.push_back(static_cast<T>(attack.*of));
    return all;
  }
  template <typename T>
  std::vector<std::vector<T>> rows(std::vector<T> Curve::*of) const {
    std::vector<std::vector<T>> all;
    for (const auto& curve : curves) all.push_back(curve.*of);
    return all;
  }
};

std::vector<bool> starts_of(const Options& options) {
  return options.control ? std::vector<bool>{true, false} : std::vector<bool>{true};
}

void add_starts(const Options& options, std::int64_t concept_index, std::size_t first,
                Share& share) {
  for (const bool erased : starts_of(options)) {
    Start start{concept_index, erased, {}, {}, {}};
    for (std::size_t i = first; i < share.attacks.size(); ++i) {
      const auto& curve = share.curves[i];
      if (share.attacks[i].erased != erased || curve.steps.empty()) continue;
      start.seeds.push_back(share.attacks[i].seed);
      start.steps = curve.steps;
      start.said.push_back(said_of(curve.counts, curve.values, std::ssize(curve.steps)));
    }
    share.starts.push_back(std::move(start));
  }
}

// The concepts of this rank. Local.
Share read_share(const Inputs& inputs, const Options& options, cluster::Range concepts,
                 const std::vector<Attack>& attacks, const cluster::TaskResults& results) {
  Share share;
  const auto each = options.seeds * std::ssize(starts_of(options));
  for (auto k = concepts.begin; k < concepts.end; ++k) {
    const auto first = share.attacks.size();
    for (auto i = k * each; i < (k + 1) * each; ++i) {
      share.attacks.push_back(attacks[i]);
      share.curves.push_back(results.failure(i).empty() ? unpack(results.read(i)) : Curve());
    }
    add_starts(options, inputs.attacked[k], first, share);
  }
  return share;
}

void write_attacks(const Share& share, cluster::StoreWriter& store) {
  const cluster::Axes by_attack{{"attack"}, ""};
  store.write_rows<std::int64_t>("attacks/concept",
                                 share.column<std::int64_t>(&Attack::concept_index), {}, by_attack);
  store.write_rows<std::int64_t>("attacks/seed", share.column<std::int64_t>(&Attack::seed), {},
                                 by_attack);
  store.write_rows<std::uint8_t>("attacks/erased", share.column<std::uint8_t>(&Attack::erased), {},
                                 by_attack);
  store.write_ragged<std::int64_t>("curves/steps", share.rows(&Curve::steps),
                                   {{"attack", "point"}, "optimizer steps"});
  store.write_ragged<double>("curves/loss", share.rows(&Curve::losses),
                             {{"attack", "point"}, "nats a token"});
  store.write_ragged<double>("curves/figures", share.rows(&Curve::figures),
                             {{"attack", "point x figure"}, ""});
  store.write_ragged<std::int64_t>("curves/counts", share.rows(&Curve::counts),
                                   {{"attack", "probe"}, ""});
  store.write_ragged<float>("curves/values", share.rows(&Curve::values),
                            {{"attack", "point x probe x value"}, "nats or counts"});
}

// Rows of means: a start of a concept, or of the mean over concepts.
struct MeanRows {
  std::vector<std::int64_t> concepts, seeds;
  std::vector<std::uint8_t> erased;
  std::vector<std::vector<std::int64_t>> steps;
  std::vector<std::vector<double>> figures;
};

// Local.
MeanRows over_seeds(const Inputs& inputs, const Share& share) {
  MeanRows rows;
  for (const auto& start : share.starts) {
    rows.concepts.push_back(start.concept_index);
    rows.seeds.push_back(std::ssize(start.seeds));
    rows.erased.push_back(start.erased ? 1 : 0);
    rows.steps.push_back(start.steps);
    auto& figures = rows.figures.emplace_back();
    for (std::size_t p = 0; p < start.steps.size(); ++p)
      append(figures, to_row(inputs.figures(start.at(p))));
  }
  return rows;
}

// Attacks by epochs differ in length: their points meet by their places between start and end.
// Rows at the root. Collective over the world.
MeanRows over_concepts(const Inputs& inputs, const Options& options, cluster::Communicator& world,
                       const Share& share) {
  std::int64_t points = 0;
  for (const auto& start : share.starts) points = std::max(points, std::ssize(start.steps));
  points = cluster::all_reduce_value(world, points, cluster::Op::max);
  MeanRows rows;
  for (const bool erased : starts_of(options)) {
    std::vector<double> figures;
    std::vector<std::int64_t> steps;
    for (std::int64_t p = 0; p < points; ++p) {
      std::vector<SeedsSaid> mine;
      std::vector<std::int64_t> sums{0, 0};  // of steps, and how many
      for (const auto& start : share.starts) {
        if (start.erased != erased || start.seeds.empty()) continue;
        const auto place = points > 1 ? p * (std::ssize(start.steps) - 1) / (points - 1) : 0;
        mine.push_back(start.at(static_cast<std::size_t>(place)));
        sums[0] += start.steps[static_cast<std::size_t>(place)];
        ++sums[1];
      }
      append(figures, to_row(inputs.mean_figures(world, mine)));
      cluster::all_reduce_sum(world, std::span<std::int64_t>(sums));
      steps.push_back(sums[0] / std::max<std::int64_t>(1, sums[1]));
    }
    if (world.rank() != 0) continue;
    rows.erased.push_back(erased ? 1 : 0);
    rows.steps.push_back(std::move(steps));
    rows.figures.push_back(std::move(figures));
  }
  return rows;
}

void write_means(const std::string& group, const MeanRows& rows, cluster::StoreWriter& store) {
  const cluster::Axes by_start{{"start"}, ""};
  store.write_rows<std::uint8_t>(group + "/erased", rows.erased, {}, by_start);
  store.write_ragged<std::int64_t>(group + "/steps", rows.steps,
                                   {{"start", "point"}, "optimizer steps"});
  store.write_ragged<double>(group + "/figures", rows.figures, {{"start", "point x figure"}, ""});
}

}  // namespace

std::string pack(const Inputs& inputs, const Attack& attack, const std::vector<Point>& curve) {
  json steps = json::array(), losses = json::array(), values = json::array(),
       counts = json::array();
  std::vector<double> figures;
  for (const auto& m : curve.front().measurements) counts.push_back(m.values.size());
  for (const auto& point : curve) {
    steps.push_back(point.step);
    losses.push_back(point.loss);
    append(figures,
           to_row(inputs.figures({attack.concept_index, {attack.seed}, {point.measurements}})));
    for (const auto& m : point.measurements)
      for (const float x : m.values) values.push_back(x);
  }
  const auto bytes = json::to_cbor(json{steps, counts, losses, figures, values});
  return {bytes.begin(), bytes.end()};
}

std::vector<Said> said_of(std::span<const std::int64_t> counts, std::span<const float> values,
                          std::int64_t points) {
  if (points * std::accumulate(counts.begin(), counts.end(), std::int64_t{0}) != std::ssize(values))
    throw DataError("relearning: an attack's values are not as many as its points and questions");
  std::vector<Said> said(static_cast<std::size_t>(points));
  auto at = values.begin();
  for (auto& point : said)
    for (const auto count : counts) {
      point.push_back({{at, at + count}, {}, false});
      at += count;
    }
  return said;
}

void write(const Inputs& inputs, const Options& options, cluster::Context& context,
           const std::vector<Attack>& attacks, const cluster::TaskResults& results) {
  auto& world = context.world();
  Share share;
  MeanRows each;
  cluster::agree(world, [&] {
    const auto concepts = cluster::rows_of(std::ssize(inputs.attacked), world.size(), world.rank());
    share = read_share(inputs, options, concepts, attacks, results);
    each = over_seeds(inputs, share);
  });
  const auto mean = over_concepts(inputs, options, world, share);
  cluster::StoreWriter store(world, context.run_directory / "relearning.h5",
                             {"relearning", schema, inputs.run_id, inputs.inputs_hash});
  write_attacks(share, store);
  const cluster::Axes by_start{{"start"}, ""};
  store.write_rows<std::int64_t>("over_seeds/concept", each.concepts, {}, by_start);
  store.write_rows<std::int64_t>("over_seeds/seeds", each.seeds, {}, by_start);
  write_means("over_seeds", each, store);
  write_means("mean", mean, store);
  store.write_strings("figures", context.is_root() ? figure_columns() : std::vector<std::string>{},
                      {{"figure"}, ""});
  store.attribute("/", "seeds", options.seeds);
  store.attribute("/", "failures", results.failures());
  store.finish();
}

}  // namespace quench::relearning
