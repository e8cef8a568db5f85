#include "pipeline/feature_judge.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "cluster/collectives.hpp"
#include "pipeline/gather_lists.hpp"

namespace quench::pipeline {

using nlohmann::json;

namespace {

constexpr std::int64_t answer_tokens = 64;

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

std::vector<BatchQuestion> joined(std::vector<BatchQuestion> some,
                                  const std::vector<BatchQuestion>& others) {
  some.insert(some.end(), others.begin(), others.end());
  return some;
}

}  // namespace

std::vector<std::vector<selection::Judgement>> judge_features(Judge& judge,
                                                              const selection::Inputs& inputs,
                                                              const selection::Options& options,
                                                              cluster::Context& context) {
  const auto candidates = gather_candidates(inputs, options, context.world());
  const selection::Questioner questioner(judge.identity());
  const bool at_once = options.judge_rounds == 1;
  std::vector<BatchQuestion> describe, membership;
  std::vector<std::optional<std::size_t>> places(candidates.size());  // in `membership`
  const auto ask_about = [&](std::size_t i, const std::optional<std::string>& description) {
    const auto c = candidates[i].concept_index;
    places[i] = membership.size();
    membership.push_back(questioner.membership(candidates[i], inputs.concept_hash(c),
                                               inputs.names(c).front(), description));
  };
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    describe.push_back(
        questioner.describe(candidates[i], inputs.concept_hash(candidates[i].concept_index)));
    if (at_once) ask_about(i, std::nullopt);
  }
  auto answers = at_once ? judge.ask("features", joined(describe, membership), answer_tokens)
                         : judge.ask("describe", describe, answer_tokens);
  std::vector<std::optional<std::string>> descriptions;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    descriptions.push_back(answer_to(describe[i], answers, selection::description_of));
    if (!at_once && descriptions[i]) ask_about(i, descriptions[i]);
  }
  if (!at_once) answers = judge.ask("membership", membership, answer_tokens);
  std::vector<std::vector<selection::Judgement>> judged(static_cast<std::size_t>(inputs.concepts));
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const auto feature = static_cast<std::size_t>(candidates[i].feature);
    auto& of_concept = judged[static_cast<std::size_t>(candidates[i].concept_index)];
    of_concept.resize(std::max(of_concept.size(), feature + 1));
    auto& judgement = of_concept[feature];
    judgement.state = selection::Judged::missing;
    judgement.description = descriptions[i].value_or("");
    if (!places[i]) continue;
    const auto said = answer_to(membership[*places[i]], answers, selection::membership_of);
    if (!said) continue;
    judgement.state = said->is_member ? selection::Judged::yes : selection::Judged::no;
    judgement.confidence = said->confidence;
  }
  return judged;
}

}  // namespace quench::pipeline
