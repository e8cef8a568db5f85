#include "pipeline/feature_judge.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "cluster/collectives.hpp"
#include "pipeline/gather_lists.hpp"

namespace quench::pipeline {

using nlohmann::json;

namespace {

constexpr std::int64_t description_tokens = 64, membership_tokens = 48;

// Collective. Those of all concepts, each rank a part of them.
std::vector<selection::Candidate> gather_candidates(const selection::Inputs& inputs,
                                                    const selection::Options& options,
                                                    cluster::Communicator& world) {
  json own = json::array();
  cluster::agree(world, [&] {
    const auto mine = cluster::rows_of(inputs.concepts, world.size(), world.rank());
    for (auto c = mine.begin; c < mine.end; ++c)
      for (const auto& candidate : selection::judge_candidates(inputs, options, c))
        own.push_back({candidate.concept_index, candidate.feature, candidate.tokens});
  });
  std::vector<selection::Candidate> all;
  for (const auto& item : gather_lists(world, own)) all.push_back({item[0], item[1], item[2]});
  return all;
}

// The reading of the answer to a question; nothing where there is none, or none that can be read.
template <typename Read>
auto answer_to(const BatchQuestion& question, const BatchContents& answers, const Read& read)
    -> decltype(read("")) {
  const auto found = answers.find(question.id);
  if (found == answers.end()) return std::nullopt;
  return read(found->second);
}

}  // namespace

std::vector<std::vector<selection::Judgement>> judge_features(Judge& judge,
                                                              const selection::Inputs& inputs,
                                                              const selection::Options& options,
                                                              cluster::Context& context) {
  const auto candidates = gather_candidates(inputs, options, context.world());
  const selection::Questioner questioner(judge.identity());
  std::vector<BatchQuestion> describe, membership;
  for (const auto& candidate : candidates)
    describe.push_back(
        questioner.describe(candidate, inputs.concept_hash(candidate.concept_index)));
  auto answers = judge.ask("describe", describe, description_tokens);
  std::vector<std::optional<std::string>> descriptions;
  std::vector<std::size_t> places;  // of candidates, in `membership`
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    descriptions.push_back(answer_to(describe[i], answers, selection::description_of));
    places.push_back(membership.size());
    const auto c = candidates[i].concept_index;
    if (descriptions[i])
      membership.push_back(questioner.membership(candidates[i], inputs.concept_hash(c),
                                                 inputs.names(c).front(), *descriptions[i]));
  }
  answers = judge.ask("membership", membership, membership_tokens);
  std::vector<std::vector<selection::Judgement>> judged(static_cast<std::size_t>(inputs.concepts));
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const auto feature = static_cast<std::size_t>(candidates[i].feature);
    auto& of_concept = judged[static_cast<std::size_t>(candidates[i].concept_index)];
    of_concept.resize(std::max(of_concept.size(), feature + 1));
    auto& judgement = of_concept[feature];
    judgement.state = selection::Judged::missing;
    if (!descriptions[i]) continue;
    judgement.description = *descriptions[i];
    const auto said = answer_to(membership[places[i]], answers, selection::membership_of);
    if (!said) continue;
    judgement.state = said->is_member ? selection::Judged::yes : selection::Judged::no;
    judgement.confidence = said->confidence;
  }
  return judged;
}

}  // namespace quench::pipeline
