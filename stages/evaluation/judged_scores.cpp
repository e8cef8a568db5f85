#include "stages/evaluation/judged_scores.hpp"

#include <cmath>
#include <limits>
#include <map>
#include <optional>

#include "cluster/collectives.hpp"
#include "cluster/store.hpp"
#include "stages/evaluation/concept_mean.hpp"
#include "stages/evaluation/results.hpp"

namespace quench::evaluation {

namespace {

constexpr float nan = std::numeric_limits<float>::quiet_NaN();

// A bank with what the joint model said, verdicts in both.
struct JudgedBank {
  Bank bank;
  std::vector<Measurement> joint;
};

class Judged {
 public:
  Judged(const JudgeInputs& inputs, std::span<const Verdict> verdicts, const Measurements& joint)
      : inputs_(inputs),
        joint_(joint),
        pieces_(make_pieces(inputs.probes)),
        banks_(inputs.probes, *inputs.baseline) {
    for (const auto& verdict : verdicts) verdicts_[verdict.probe].push_back(&verdict);
  }

  JudgedBank of_concept(std::int64_t c) {
    const auto& piece = pieces_[static_cast<std::size_t>(c)];
    return judged(banks_.of(piece), piece.ids);
  }
  JudgedBank shared() {
    const auto& probes = inputs_.probes;
    return judged(banks_.shared(), {probes.offsets[static_cast<std::size_t>(probes.concepts)],
                                    probes.offsets.back()});
  }

 private:
  JudgedBank judged(Bank bank, cluster::Range ids) const {
    JudgedBank out{std::move(bank), {}};
    const auto said = joint_.read(ids);
    for (const auto place : out.bank.places)
      out.joint.push_back(said[static_cast<std::size_t>(place)]);
    for (std::size_t i = 0; i < out.joint.size(); ++i)
      put_in(out.bank.probes[i], out.bank.base[i], out.joint[i]);
    return out;
  }

  void put_in(const Probe& probe, Measurement& base, Measurement& joint) const {
    const auto found = verdicts_.find(probe.id);
    if (found == verdicts_.end()) return;
    const auto& task = tasks::task_of(probe.kind);
    for (const auto* verdict : found->second) {
      const bool both = !std::isnan(verdict->base) && !std::isnan(verdict->joint);
      task.take_verdict(verdict->question, both ? static_cast<float>(verdict->base) : nan, base);
      task.take_verdict(verdict->question, both ? static_cast<float>(verdict->joint) : nan, joint);
    }
  }

  const JudgeInputs& inputs_;
  const Measurements& joint_;
  std::vector<Piece> pieces_;
  Banks banks_;
  std::map<std::int64_t, std::vector<const Verdict*>> verdicts_;  // by probe
};

// Of each concept, as the evaluation says.
std::vector<bool> which_failed(cluster::Context& context) {
  const cluster::StoreReader store(context.run_directory / "evaluation.h5", "evaluation", schema);
  std::vector<bool> failed;
  for (const auto& status : store.read_strings("status")) failed.push_back(status == "failed");
  return failed;
}

CountedConcepts counted(const std::vector<bool>& edited, const std::vector<bool>& failed) {
  std::vector<bool> counts;
  for (std::size_t c = 0; c < failed.size(); ++c) counts.push_back(edited[c] && !failed[c]);
  return CountedConcepts(counts);
}

}  // namespace

JudgedScores judged_scores(const JudgeInputs& inputs, const Options& options,
                           std::span<const Verdict> verdicts, const Measurements& joint,
                           cluster::Context& context) {
  auto& world = context.world();
  JudgedScores scores;
  std::optional<ConceptMean> mean;
  cluster::agree(world, [&] {
    Judged judged(inputs, verdicts, joint);
    auto rules = rules_of(options);
    rules.judged = true;
    const auto failed = which_failed(context);
    const auto means_over = counted(inputs.edited, failed);
    mean.emplace(means_over.total, options.resamples, "joint");
    const auto shared = judged.shared();
    const auto mine = cluster::rows_of(inputs.probes.concepts, world.size(), world.rank());
    for (auto c = mine.begin; c < mine.end; ++c) {
      if (failed[static_cast<std::size_t>(c)]) {
        scores.local.emplace_back();
        continue;
      }
      const auto own = judged.of_concept(c);
      const auto sample = sample_of(own.bank, own.joint, shared.bank, shared.joint, rules,
                                    "joint/" + inputs.probes.hash(c));
      scores.local.push_back(sample.scores(options.resamples));
      const auto place = means_over.places[static_cast<std::size_t>(c)];
      if (place >= 0) mean->add(place, sample, scores.local.back());
    }
  });
  scores.mean = mean->finish(world);
  return scores;
}

}  // namespace quench::evaluation
