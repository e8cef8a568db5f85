#include "stages/evaluation/evaluation.hpp"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "cluster/collectives.hpp"
#include "stages/evaluation/codec.hpp"
#include "stages/evaluation/pieces.hpp"

namespace quench::evaluation {

namespace {

// Probes of the test split with the base model's word on them.
struct Bank {
  std::vector<Probe> probes;
  std::vector<Measurement> base;

  void add(std::vector<Probe> more, std::vector<Measurement> said) {
    for (std::size_t i = 0; i < more.size(); ++i) {
      if (more[i].split != Split::test) continue;
      probes.push_back(std::move(more[i]));
      base.push_back(std::move(said[i]));
    }
  }
};

// The whole stage, a method a step.
class Run {
 public:
  Run(const Inputs& inputs, const Options& options, cluster::Context& context)
      : inputs_(inputs),
        options_(options),
        context_(context),
        reader_(inputs.probes),
        pieces_(make_pieces(inputs.probes)) {}

  void travel() {
    const auto results = measure_all();
    const auto shared = joint_of_shared(results);
    write(results, shared);
    cluster::remove_journals(context_, "evaluation");
  }

 private:
  std::int64_t alone_tasks() const { return options_.alone ? inputs_.probes.concepts : 0; }
  std::vector<Measurement> base_of(cluster::Range ids) const { return inputs_.baseline->read(ids); }
  cluster::Range shared_ids() const {
    return {inputs_.probes.offsets[inputs_.probes.concepts], inputs_.probes.offsets.back()};
  }

  // Tasks: first each concept's edit alone, then the pieces of the joint model.
  cluster::TaskResults measure_all() {
    std::vector<cluster::Task> tasks;
    for (std::int64_t c = 0; c < alone_tasks(); ++c) {
      tasks.push_back({key_of({"alone", inputs_.inputs_hash, inputs_.probes.hash(c)}),
                       static_cast<double>(pieces_[c].ids.size())});
    }
    for (const auto& piece : pieces_) {
      tasks.push_back({key_of({"joint", inputs_.inputs_hash, std::to_string(piece.ids.begin)}),
                       static_cast<double>(piece.ids.size())});
    }
    return cluster::run_tasks(
        context_, "evaluation", tasks, [&](std::int64_t i, cluster::Communicator& group) {
          return i < alone_tasks() ? measure_alone(group, i)
                                   : measure_joint(group, pieces_[i - alone_tasks()]);
        });
  }

  // A concept's edit alone, on its own and the shared probes: the figures are the result.
  std::string measure_alone(cluster::Communicator& group, std::int64_t c) {
    Bank bank;
    bank.add(reader_.probes(pieces_[c]), base_of(pieces_[c].ids));
    bank.add(reader_.shared(), base_of(shared_ids()));
    const auto model = inputs_.alone(c);
    const auto said = inputs_.meter->measure(group, model, bank.probes, bank.base);
    const auto row = to_row(figures(bank.probes, bank.base, said, c, "alone/"));
    const auto bytes = nlohmann::json::to_cbor(row);
    return {bytes.begin(), bytes.end()};
  }

  // The joint model on the test probes of a piece; its train probes stay unmeasured.
  std::string measure_joint(cluster::Communicator& group, const Piece& piece) {
    const auto probes = reader_.probes(piece);
    Bank bank;
    bank.add(probes, base_of(piece.ids));
    auto said = inputs_.meter->measure(group, *inputs_.joint, bank.probes, bank.base);
    std::vector<Measurement> all(probes.size());
    std::size_t next = 0;
    for (std::size_t i = 0; i < probes.size(); ++i) {
      if (probes[i].split == Split::test) all[i] = std::move(said[next++]);
    }
    return pack(all);
  }

  Scores figures(std::span<const Probe> probes, std::span<const Measurement> base,
                 std::span<const Measurement> said, std::int64_t c,
                 const std::string& purpose) const {
    std::vector<Pair> pairs;
    for (std::size_t i = 0; i < probes.size(); ++i)
      pairs.push_back({&probes[i], &base[i], &said[i]});
    return summarise(pairs, Split::test, objective_of(options_), options_.resamples,
                     purpose + inputs_.probes.hash(c));
  }

  std::int64_t joint_task(std::int64_t piece) const { return alone_tasks() + piece; }

  // The joint model's word on all shared probes; empty where a chunk failed.
  std::vector<Measurement> joint_of_shared(const cluster::TaskResults& results) const {
    std::vector<Measurement> said;
    for (std::int64_t p = inputs_.probes.concepts; p < std::ssize(pieces_); ++p) {
      if (!results.failure(joint_task(p)).empty()) return {};
      auto chunk = unpack(results.read(joint_task(p)));
      std::move(chunk.begin(), chunk.end(), std::back_inserter(said));
    }
    return said;
  }

  Scores alone_scores(const cluster::TaskResults& results, std::int64_t c) const {
    if (!options_.alone || !results.failure(c).empty()) return unknown_scores();
    const auto row = nlohmann::json::from_cbor(results.read(c)).get<std::vector<double>>();
    return from_row(row);
  }

  Scores joint_scores(const cluster::TaskResults& results, std::int64_t c,
                      const std::vector<Measurement>& shared) {
    if (shared.empty() || !results.failure(joint_task(c)).empty()) return unknown_scores();
    auto probes = reader_.probes(pieces_[c]);
    auto base = base_of(pieces_[c].ids);
    auto said = unpack(results.read(joint_task(c)));
    const auto shared_base = base_of(shared_ids());
    const auto& shared_probes = reader_.shared();
    probes.insert(probes.end(), shared_probes.begin(), shared_probes.end());
    base.insert(base.end(), shared_base.begin(), shared_base.end());
    said.insert(said.end(), shared.begin(), shared.end());
    return figures(probes, base, said, c, "joint/");
  }

  static Scores unknown_scores() {
    Scores scores;
    const double nan = std::numeric_limits<double>::quiet_NaN();
    Scores::for_each(scores, [&](const auto&, Estimate& e) { e = {nan, {nan, nan}}; });
    return scores;
  }

  void write(const cluster::TaskResults& results, const std::vector<Measurement>& shared);
  std::vector<double> gathered_mean(const std::vector<Scores>& counted, const std::string& purpose);

  const Inputs& inputs_;
  const Options& options_;
  cluster::Context& context_;
  PieceReader reader_;
  std::vector<Piece> pieces_;
};

// Mean over the counted concepts of all ranks. Collective.
std::vector<double> Run::gathered_mean(const std::vector<Scores>& counted,
                                       const std::string& purpose) {
  std::vector<double> rows;
  for (const auto& scores : counted) {
    const auto row = to_row(scores);
    rows.insert(rows.end(), row.begin(), row.end());
  }
  const auto all = cluster::all_gather<double>(context_.world(), rows);
  const std::size_t width = score_columns().size();
  std::vector<Scores> scores;
  for (std::size_t at = 0; at < all.values.size(); at += width) {
    scores.push_back(from_row(std::span(all.values).subspan(at, width)));
  }
  return to_row(mean_over_concepts(scores, options_.resamples, purpose));
}

void Run::write(const cluster::TaskResults& results, const std::vector<Measurement>& shared) {
  auto& world = context_.world();
  const auto mine = cluster::rows_of(std::ssize(pieces_), world.size(), world.rank());
  std::vector<double> alone, joint;
  std::vector<Scores> counted_alone, counted_joint;
  std::vector<std::string> status;
  std::vector<Measurement> said;
  cluster::agree(world, [&] {
    for (auto p = mine.begin; p < mine.end; ++p) {
      auto piece = results.failure(joint_task(p)).empty()
                       ? unpack(results.read(joint_task(p)))
                       : std::vector<Measurement>(pieces_[p].ids.size());
      std::move(piece.begin(), piece.end(), std::back_inserter(said));
      const auto c = pieces_[p].concept_index;
      if (c < 0) continue;
      const auto alone_row = alone_scores(results, c);
      const auto joint_row = joint_scores(results, c, shared);
      const bool failed = std::isnan(joint_row.own.accuracy.value);
      status.push_back(failed ? "failed" : inputs_.status[c]);
      if (status.back() == "ok") {
        counted_alone.push_back(alone_row);
        counted_joint.push_back(joint_row);
      }
      std::ranges::copy(to_row(alone_row), std::back_inserter(alone));
      std::ranges::copy(to_row(joint_row), std::back_inserter(joint));
    }
  });
  const auto mean_alone = gathered_mean(counted_alone, "alone");
  const auto mean_joint = gathered_mean(counted_joint, "joint");
  const std::int64_t counted =
      cluster::all_reduce_value(world, std::int64_t{std::ssize(counted_joint)}, cluster::Op::sum);

  cluster::StoreWriter store(world, context_.run_directory / "evaluation.h5",
                             {"evaluation", schema, inputs_.run_id, inputs_.inputs_hash});
  const auto columns = score_columns();
  const std::vector<std::int64_t> width = {std::ssize(columns)};
  const bool root = world.rank() == 0;
  const auto at_root = [&](const std::vector<double>& row) {
    return root ? std::span<const double>(row) : std::span<const double>();
  };
  store.write_rows<double>("alone/scores", alone, width, {{"concept", "figure"}, ""});
  store.write_rows<double>("joint/scores", joint, width, {{"concept", "figure"}, ""});
  store.write_rows<double>("alone/mean", at_root(mean_alone), width, {{"mean", "figure"}, ""});
  store.write_rows<double>("joint/mean", at_root(mean_joint), width, {{"mean", "figure"}, ""});
  store.write_strings("figures", root ? columns : std::vector<std::string>{}, {{"figure"}, ""});
  store.write_strings("status", status, {{"concept"}, ""});
  write_measurements(store, "joint/measurements", said);
  store.attribute("/", "counted_concepts", counted);
  store.attribute("/", "objective", options_.objective);
  store.attribute("/", "failures", results.failures());
  store.finish();
}

}  // namespace

void describe(Options& options, OptionTable& table) {
  table.add_choice(
      "evaluation.objective", options.objective,
      "what efficacy and specificity are fractions of: margin (of log-probability), or "
      "accuracy above chance as in the paper",
      {"margin", "accuracy"});
  table.add("evaluation.resamples", options.resamples, "bootstrap resamples of the intervals",
            {0, 100000});
  table.add("evaluation.batch_tokens", options.batch_tokens,
            "tokens of a forward batch, padding included", {64, 1 << 22});
  table.add("evaluation.open_tokens", options.open_tokens,
            "longest answer to an open question, in tokens", {1, 4096});
  table.add("evaluation.instruction_tokens", options.instruction_tokens,
            "longest answer to an instruction, in tokens", {1, 4096});
  table.add("evaluation.alone", options.alone, "evaluate each concept's edit alone too");
}

Objective objective_of(const Options& options) {
  return options.objective == "accuracy" ? Objective::accuracy : Objective::margin;
}

MeasureOptions measure_options(const Options& options) {
  return {options.batch_tokens, options.open_tokens, options.instruction_tokens};
}

void run(const Inputs& inputs, const Options& options, cluster::Context& context) {
  Run(inputs, options, context).travel();
}

std::vector<std::string> score_columns() {
  std::vector<std::string> columns;
  Scores scores;
  Scores::for_each(scores, [&](const std::string& name, const Estimate&) {
    columns.insert(columns.end(), {name, name + "_low", name + "_high"});
  });
  columns.insert(columns.end(), {"reused", "measured"});
  return columns;
}

std::vector<double> to_row(const Scores& scores) {
  std::vector<double> row;
  Scores::for_each(scores, [&](const auto&, const Estimate& e) {
    row.insert(row.end(), {e.value, e.interval.low, e.interval.high});
  });
  row.insert(row.end(), {static_cast<double>(scores.reused), static_cast<double>(scores.measured)});
  return row;
}

Scores from_row(std::span<const double> row) {
  Scores scores;
  std::size_t at = 0;
  Scores::for_each(scores, [&](const auto&, Estimate& e) {
    e = {row[at], {row[at + 1], row[at + 2]}};
    at += 3;
  });
  scores.reused = static_cast<std::int64_t>(row[at]);
  scores.measured = static_cast<std::int64_t>(row[at + 1]);
  return scores;
}

}  // namespace quench::evaluation
