#include "stages/selection/verdict.hpp"

#include <algorithm>
#include <map>

#include "stages/selection/roundtrip.hpp"

namespace quench::selection {

namespace {

constexpr std::size_t most_misses = 20;  // near misses kept for each reason

Decision decision_of(const Inputs& inputs, const Options& options, std::int64_t concept_index,
                     const std::vector<Judgement>& judged) {
  if (options.method == "manual") return inputs.manual(concept_index);
  if (options.method != "judge") return {};
  std::vector<std::int32_t> features;
  for (std::size_t k = 0; k < judged.size(); ++k)
    if (judged[k].state == Judged::yes && judged[k].confidence >= options.judge_confidence)
      features.push_back(static_cast<std::int32_t>(k));
  return {features, {}};
}

// Adds what stands near to the selected tokens.
class VariantFinder {
 public:
  VariantFinder(const Bench& bench, const DocumentFrequencies& own, Verdict& verdict)
      : bench_(bench), own_(own), verdict_(verdict) {}

  void find() {
    const auto& tokens = verdict_.choice.selected.tokens;
    for (const auto stem : tokens)
      for (const auto token : bench_.words->same_letters(stem))
        consider({{token, stem}, Kinship::letters, 0, 0});
    if (bench_.options.variant_cosine < 1 && !tokens.empty()) {
      const auto near = bench_.inputs.neighbours(tokens, bench_.options.variant_cosine);
      for (std::size_t i = 0; i < tokens.size(); ++i)
        for (const auto& [token, cosine] : near[i])
          if (bench_.words->is_word(token) && bench_.words->is_word(tokens[i]))
            consider({{token, tokens[i]}, Kinship::neighbour, 0, cosine});
    }
    for (const auto& [token, z] : low_)
      if (!best_.contains(token)) verdict_.misses.push_back({token, z, Miss::variant_low_z});
    for (const auto& [token, found] : best_) {
      verdict_.variants.push_back(found);
      verdict_.choice.selected.variants.push_back(found.variant);
    }
  }

 private:
  // A token that the concept's sentences hold has been judged by its own evidence. A word that the
  // neutral text has, however spelt, is never edited; one that others' sentences have must pass as
  // its stem would, were it there as often.
  void consider(FoundVariant found) {
    const auto token = found.variant.token;
    if (count_of(own_, token) > 0) return;
    const auto spellings = bench_.words->spellings(token);
    if (std::ranges::any_of(spellings,
                            [&](auto same) { return count_of(bench_.inputs.neutral, same) > 0; }))
      return;
    const auto elsewhere = [&](std::int32_t same) {
      return bench_.whole.counts.at(same) - count_of(bench_.excluded, same);
    };
    const auto commonest = *std::ranges::max_element(spellings, {}, elsewhere);
    found.z = z_score(commonest, count_of(own_, found.variant.stem), own_.sentences, bench_.whole,
                      bench_.excluded, bench_.options.standard_background);
    if (elsewhere(commonest) > 0 && found.z < bench_.options.token_z) {
      if (found.kinship == Kinship::letters) {
        const auto [entry, fresh] = low_.try_emplace(token, found.z);
        if (!fresh) entry->second = std::max(entry->second, found.z);
      }
      return;
    }
    const auto [entry, fresh] = best_.try_emplace(token, found);
    if (!fresh && entry->second.kinship == found.kinship && entry->second.z < found.z)
      entry->second = found;
  }

  const Bench& bench_;
  const DocumentFrequencies& own_;
  Verdict& verdict_;
  std::map<std::int32_t, FoundVariant> best_;
  std::map<std::int32_t, double> low_;  // that others use too often: the highest z of all stems
};

// Tokens of the concept's sentences that are not edited though little is missing.
void add_misses(const Factors& factors, const TokenEvidence& evidence, const Options& options,
                const DocumentFrequencies& own, Verdict& verdict) {
  std::vector<bool> active(factors.tokens.size(), false), selected(factors.tokens.size(), false);
  for (const auto k : verdict.choice.selected.features)
    for (const auto place : strongest_first(factors, k)) active[factors.rows[place]] = true;
  for (const auto place : verdict.choice.places) selected[place] = true;
  for (std::size_t i = 0; i < factors.tokens.size(); ++i) {
    if (selected[i] || count_of(own, factors.tokens[i]) == 0) continue;
    const bool enough = options.method != "contrast" || evidence.z[i] >= options.token_z;
    const bool free = evidence.eligible()[i] == Label::own;
    if (active[i] && !free && enough)
      verdict.misses.push_back({factors.tokens[i], evidence.z[i], Miss::neutral});
    if (active[i] && free && !enough)
      verdict.misses.push_back({factors.tokens[i], evidence.z[i], Miss::low_z});
    if (!active[i] && free && enough)
      verdict.misses.push_back({factors.tokens[i], evidence.z[i], Miss::no_feature});
  }
}

// The highest z-scores of each reason.
void keep_nearest(std::vector<NearMiss>& misses) {
  std::ranges::stable_sort(misses, [](const auto& a, const auto& b) { return a.z > b.z; });
  std::map<Miss, std::size_t> kept;
  std::erase_if(misses, [&](const auto& miss) { return ++kept[miss.reason] > most_misses; });
}

}  // namespace

TokenEvidence evidence_of(const Bench& bench, const Factors& factors,
                          const DocumentFrequencies& own) {
  TokenEvidence evidence{
      z_scores(factors.tokens, own, bench.whole, bench.excluded, bench.options.standard_background),
      labels_of(factors.tokens, own, bench.inputs.neutral)};
  for (std::size_t i = 0; i < factors.tokens.size(); ++i)
    if (evidence.labels[i] == Label::neither && bench.whole.counts.at(factors.tokens[i]) == 0)
      evidence.labels[i] = Label::unseen;
  if (bench.options.string_roundtrip)
    evidence.labels_by_string =
        labels_by_string(factors, evidence.labels, bench.inputs.decoded, bench.inputs.piece);
  return evidence;
}

Verdict judge(const Bench& bench, std::int64_t concept_index, const DocumentFrequencies& own) {
  const auto& [inputs, options, whole, excluded, words] = bench;
  const auto factors = inputs.factors(concept_index);
  const auto evidence = evidence_of(bench, factors, own);
  Verdict verdict;
  verdict.hash = inputs.concept_hash(concept_index);
  verdict.background_sentences = whole.sentences - excluded.sentences;
  verdict.statistics = feature_statistics(factors, evidence, options.own_z);
  if (options.method == "judge") verdict.judged = inputs.judged(concept_index);
  const auto decision = decision_of(inputs, options, concept_index, verdict.judged);
  verdict.choice = choose(factors, evidence, verdict.statistics, options, decision);
  if (decision.tokens)
    verdict.without_feature =
        std::ssize(*decision.tokens) - std::ssize(verdict.choice.selected.tokens);
  for (const auto place : verdict.choice.places) {
    verdict.z.push_back(evidence.z[place]);
    const auto sentences = count_of(own, factors.tokens[place]);
    verdict.sentences.push_back(static_cast<std::int32_t>(sentences));
  }
  add_misses(factors, evidence, options, own, verdict);
  // Who names tokens gets these.
  if (words != nullptr && !decision.tokens) VariantFinder(bench, own, verdict).find();
  keep_nearest(verdict.misses);
  return verdict;
}

}  // namespace quench::selection
