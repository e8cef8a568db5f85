#include "pipeline/attack_scorer.hpp"

#include <algorithm>

#include "cluster/collectives.hpp"
#include "cluster/error.hpp"
#include "stages/evaluation/concept_mean.hpp"

namespace quench::pipeline {

namespace {

// relearning::figure_names(): accuracies are of the form that decides, margins of choices alone.
std::vector<Estimate> relearning_figures(const evaluation::Scores& scores, evaluation::Form form) {
  const auto accuracy = evaluation::accuracy_name(form);
  return {scores["own_" + accuracy], scores["own_margin"], scores["similar_" + accuracy],
          scores["similar_margin"],  scores["own_left"],   scores["similar_left"]};
}

}  // namespace

std::vector<Probe> AttackScorer::probes(std::int64_t concept_index) const {
  auto probes = corpus_.probes(concept_index);
  std::erase_if(probes, [this](const Probe& probe) {
    return probe.split != Split::test || !evaluation::is_of_form(rules_.form, probe);
  });
  return probes;
}

evaluation::SeededSample AttackScorer::sample(const relearning::SeedsSaid& said,
                                              const std::string& purpose) const {
  const auto c = said.concept_index;
  const auto& offsets = corpus_.probe_offsets();
  const auto base = baseline_.read({offsets[c], offsets[c + 1]});
  const auto asked = probes(c);
  std::vector<evaluation::Sample> samples;
  for (const auto& now : said.by_seed) {
    if (now.size() != asked.size())
      throw DataError("relearning: an attack's values are not of the concept's questions");
    std::vector<evaluation::Pair> pairs;
    for (std::size_t i = 0; i < asked.size(); ++i)
      pairs.push_back({&asked[i], &base[asked[i].id - offsets[c]], &now[i]});
    samples.emplace_back(pairs, Split::test, rules_, purpose);
  }
  std::string seeds_purpose = purpose;
  for (const auto seed : said.seeds) seeds_purpose += "/" + std::to_string(seed);
  return {std::move(samples), seeds_purpose};
}

evaluation::SeededSample AttackScorer::own_sample(const relearning::SeedsSaid& said) const {
  return sample(said, "relearning/" + corpus_.hash(said.concept_index));
}

std::vector<Estimate> AttackScorer::figures(const relearning::SeedsSaid& said,
                                            std::int64_t resamples) const {
  return relearning_figures(own_sample(said).scores(resamples), rules_.form);
}

std::vector<Estimate> AttackScorer::mean(cluster::Communicator& world,
                                         std::span<const std::int64_t> attacked,
                                         std::span<const relearning::SeedsSaid> mine,
                                         std::int64_t resamples) const {
  evaluation::ConceptMean mean(std::ssize(attacked), resamples, "relearning");
  cluster::agree(world, [&] {
    for (const auto& said : mine) {
      const auto sample = own_sample(said);
      const auto place = std::ranges::find(attacked, said.concept_index) - attacked.begin();
      mean.add(place, sample.figures(),
               [&](auto draw, auto again) { return sample.resampled(draw, again); });
    }
  });
  return relearning_figures(mean.finish(world), rules_.form);
}

}  // namespace quench::pipeline
