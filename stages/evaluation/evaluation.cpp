#include "stages/evaluation/evaluation.hpp"

#include <algorithm>

#include "cluster/collectives.hpp"
#include "stages/evaluation/concept_mean.hpp"
#include "stages/evaluation/curve.hpp"
#include "stages/evaluation/results.hpp"

namespace quench::evaluation {

namespace {

// What a rank writes of its pieces.
struct LocalRows {
  std::vector<Scores> alone, joint;                 // a concept each
  std::vector<std::string> status;                  // a concept each
  std::vector<Measurement> alone_said, joint_said;  // a probe each
};

// The whole stage, a method a step.
class Run {
 public:
  Run(const Inputs& inputs, const Options& options, cluster::Context& context)
      : inputs_(inputs),
        options_(options),
        rules_(rules_of(options)),
        context_(context),
        pieces_(make_pieces(inputs.probes)),
        banks_(inputs.probes, *inputs.baseline) {}

  void travel() {
    const auto results = measure_all();
    Curve curve;
    if (options_.curve) {
      SaidBefore said{[&](std::int64_t p) { return joint_said(results, p); }, {}};
      if (options_.alone) said.alone = [&](std::int64_t c) { return alone_said(results, c); };
      curve = measure_curve(inputs_, options_, context_, pieces_, banks_, said);
    }
    write(results, curve);
    cluster::remove_journals(context_, "evaluation");
  }

 private:
  std::int64_t alone_tasks() const { return options_.alone ? inputs_.probes.concepts : 0; }
  std::int64_t joint_task(std::int64_t piece) const { return alone_tasks() + piece; }
  const Piece& piece(std::int64_t p) const { return pieces_[static_cast<std::size_t>(p)]; }

  // Tasks: first each concept's edit alone, then the pieces of the joint model.
  cluster::TaskResults measure_all() {
    std::vector<cluster::Task> tasks;
    for (std::int64_t c = 0; c < alone_tasks(); ++c) {
      tasks.push_back({key_of({"alone", inputs_.inputs_hash, inputs_.probes.hash(c)}),
                       static_cast<double>(piece(c).ids.size())});
    }
    for (const auto& one : pieces_) {
      tasks.push_back({key_of({"joint", inputs_.inputs_hash, std::to_string(one.ids.begin)}),
                       static_cast<double>(one.ids.size())});
    }
    return cluster::run_tasks(
        context_, "evaluation", tasks, [&](std::int64_t i, cluster::Communicator& group) {
          return i < alone_tasks() ? measure_alone(group, i)
                                   : measure_joint(group, piece(i - alone_tasks()));
        });
  }

  // A concept's edit alone, on its own probes and then on the shared ones.
  std::string measure_alone(cluster::Communicator& group, std::int64_t c) {
    auto bank = banks_.of(piece(c));
    const auto& shared = banks_.shared();
    bank.add(shared.probes, shared.base);
    const auto model = inputs_.alone(c);
    return pack_new(inputs_.meter->measure(group, model, bank.probes, bank.base));
  }

  std::string measure_joint(cluster::Communicator& group, const Piece& one) {
    const auto bank = banks_.of(one);
    return pack_new(inputs_.meter->measure(group, *inputs_.joint, bank.probes, bank.base));
  }

  // To the concept's own probes, then to the shared ones.
  Said alone_said(const cluster::TaskResults& results, std::int64_t c) {
    if (!results.failure(c).empty()) return std::nullopt;
    auto base = banks_.of(piece(c)).base;
    const auto& shared = banks_.shared().base;
    base.insert(base.end(), shared.begin(), shared.end());
    return unpack_new(results.read(c), base);
  }

  Said joint_said(const cluster::TaskResults& results, std::int64_t p) {
    if (!results.failure(joint_task(p)).empty()) return std::nullopt;
    return unpack_new(results.read(joint_task(p)), banks_.of(piece(p)).base);
  }

  // The joint model's word on all shared probes; nothing where a chunk failed.
  Said joint_of_shared(const cluster::TaskResults& results) {
    std::vector<Measurement> said;
    for (auto p = inputs_.probes.concepts; p < std::ssize(pieces_); ++p) {
      auto chunk = joint_said(results, p);
      if (!chunk) return std::nullopt;
      std::move(chunk->begin(), chunk->end(), std::back_inserter(said));
    }
    return said;
  }

  // The same on all ranks.
  CountedConcepts counted(const cluster::TaskResults& results) const {
    bool shared = true;
    for (auto p = inputs_.probes.concepts; p < std::ssize(pieces_); ++p)
      shared = shared && results.failure(joint_task(p)).empty();
    std::vector<bool> counts;
    for (std::int64_t c = 0; c < inputs_.probes.concepts; ++c)
      counts.push_back(shared && inputs_.edited[static_cast<std::size_t>(c)] &&
                       results.failure(joint_task(c)).empty());
    return CountedConcepts(counts);
  }

  void add_concept(const cluster::TaskResults& results, std::int64_t c, const Bank& bank,
                   const Said& joint, LocalRows& rows);
  LocalRows make_rows(const cluster::TaskResults& results);
  void write(const cluster::TaskResults& results, const Curve& curve);
  void write_curve(cluster::StoreWriter& store, const Curve& curve);

  const Inputs& inputs_;
  const Options& options_;
  Rules rules_;
  cluster::Context& context_;
  std::vector<Piece> pieces_;
  Banks banks_;
  Said shared_joint_;
  std::vector<std::int64_t> places_;
  std::optional<ConceptMean> mean_alone_, mean_joint_;
};

// A measurement for each probe of the piece; those of the train split are empty.
void append_all(const Bank& bank, std::span<const Measurement> said, std::int64_t probes,
                std::vector<Measurement>& to) {
  const auto first = to.size();
  to.resize(first + static_cast<std::size_t>(probes));
  for (std::size_t i = 0; i < bank.places.size() && i < said.size(); ++i)
    to[first + static_cast<std::size_t>(bank.places[i])] = said[i];
}

void Run::add_concept(const cluster::TaskResults& results, std::int64_t c, const Bank& bank,
                      const Said& joint, LocalRows& rows) {
  const auto place = places_[static_cast<std::size_t>(c)];
  const auto summarised = [&](const auto& own, const auto& shared, const char* purpose,
                              std::optional<ConceptMean>& mean) {
    const auto sample =
        sample_of(bank, own, banks_.shared(), shared, rules_, purpose + inputs_.probes.hash(c));
    auto scores = sample.scores(options_.resamples);
    if (place >= 0) mean->add(place, sample, scores);
    return scores;
  };
  const auto size = piece(c).ids.size();
  Scores alone, of_joint;
  std::vector<Measurement> own;
  if (auto said = options_.alone ? alone_said(results, c) : std::nullopt) {
    own = std::move(*said);
    const std::span<const Measurement> all(own);
    alone = summarised(all.first(bank.probes.size()), all.subspan(bank.probes.size()), "alone/",
                       mean_alone_);
  }
  if (joint && shared_joint_)
    of_joint = summarised(std::span<const Measurement>(*joint),
                          std::span<const Measurement>(*shared_joint_), "joint/", mean_joint_);
  append_all(bank, own, size, rows.alone_said);
  rows.alone.push_back(std::move(alone));
  rows.joint.push_back(std::move(of_joint));
  rows.status.push_back(joint && shared_joint_ ? inputs_.status[static_cast<std::size_t>(c)]
                                               : "failed");
}

LocalRows Run::make_rows(const cluster::TaskResults& results) {
  auto& world = context_.world();
  LocalRows rows;
  cluster::agree(world, [&] {
    shared_joint_ = joint_of_shared(results);
    const auto mine = cluster::rows_of(std::ssize(pieces_), world.size(), world.rank());
    for (auto p = mine.begin; p < mine.end; ++p) {
      const auto bank = banks_.of(piece(p));
      const auto joint = joint_said(results, p);
      append_all(bank, joint ? *joint : std::vector<Measurement>(), piece(p).ids.size(),
                 rows.joint_said);
      if (piece(p).concept_index >= 0) {
        add_concept(results, p, bank, joint, rows);
      } else {
        rows.alone_said.resize(rows.alone_said.size() +
                               static_cast<std::size_t>(piece(p).ids.size()));
      }
    }
  });
  return rows;
}

void Run::write_curve(cluster::StoreWriter& store, const Curve& curve) {
  const bool root = context_.is_root();
  const auto at_root = [&](const std::vector<std::int64_t>& list) {
    return root ? std::span<const std::int64_t>(list) : std::span<const std::int64_t>();
  };
  store.write_rows<std::int64_t>("curve/order", at_root(curve.order), {}, {{"place"}, ""});
  store.write_rows<std::int64_t>("curve/erased", at_root(curve.erased), {}, {{"point"}, ""});
  write_scores(store, "curve/means", root ? curve.means : std::vector<Scores>{}, "point");
  write_scores(store, "curve/alone", root ? curve.alone : std::vector<Scores>{}, "point");
}

void Run::write(const cluster::TaskResults& results, const Curve& curve) {
  auto& world = context_.world();
  const auto means_over = counted(results);
  places_ = means_over.places;
  const auto total = means_over.total;
  mean_alone_.emplace(total, options_.resamples, "alone");
  mean_joint_.emplace(total, options_.resamples, "joint");
  const auto rows = make_rows(results);
  const std::vector<Scores> alone{mean_alone_->finish(world)}, joint{mean_joint_->finish(world)};
  const bool root = world.rank() == 0;
  const std::vector<Scores> none;

  cluster::StoreWriter store(world, context_.run_directory / "evaluation.h5",
                             {"evaluation", schema, inputs_.run_id, inputs_.inputs_hash});
  write_scores(store, "alone/scores", rows.alone, "concept");
  write_scores(store, "joint/scores", rows.joint, "concept");
  write_scores(store, "alone/mean", root ? alone : none, "mean");
  write_scores(store, "joint/mean", root ? joint : none, "mean");
  store.write_strings("figures", root ? score_columns() : std::vector<std::string>{},
                      {{"figure"}, ""});
  store.write_strings("status", rows.status, {{"concept"}, ""});
  write_measurements(store, "alone/measurements", rows.alone_said);
  write_measurements(store, "joint/measurements", rows.joint_said);
  write_curve(store, curve);
  store.attribute("/", "counted_concepts", total);
  store.attribute("/", "objective", options_.objective);
  store.attribute("/", "form", options_.form);
  store.attribute("/", "failures", results.failures() + curve.failures);
  store.finish();
}

}  // namespace

void run(const Inputs& inputs, const Options& options, cluster::Context& context) {
  Run(inputs, options, context).travel();
}

}  // namespace quench::evaluation
