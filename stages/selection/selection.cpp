#include "stages/selection/selection.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "cluster/collectives.hpp"
#include "cluster/log.hpp"
#include "cluster/partition.hpp"
#include "stages/selection/background.hpp"
#include "stages/selection/groups.hpp"
#include "stages/selection/selection_file.hpp"
#include "stages/selection/verdict.hpp"

namespace quench::selection {

namespace {

constexpr auto stage_name = "selection";

// This rank's block of concepts and their document frequencies.
struct Share {
  cluster::Range concepts;
  std::vector<DocumentFrequencies> frequencies;
};

// Collective.
Share read_share(const Inputs& inputs, cluster::Communicator& comm) {
  Share share{cluster::rows_of(inputs.concepts, comm.size(), comm.rank()), {}};
  cluster::agree(comm, [&] {
    for (auto c = share.concepts.begin; c < share.concepts.end; ++c)
      share.frequencies.push_back(inputs.frequencies(c));
  });
  return share;
}

// Collective. The sentences of all concepts and the neutral text.
Background global_background(const Inputs& inputs, const Share& share,
                             cluster::Communicator& comm) {
  Background all{std::vector<std::int64_t>(inputs.vocab, 0), 0};
  cluster::agree(comm, [&] {
    for (const auto& frequencies : share.frequencies) add(all, frequencies);
    if (comm.rank() == 0) add(all, inputs.neutral);
  });
  cluster::all_reduce_sum(comm, std::span<std::int64_t>(all.counts));
  all.sentences = cluster::all_reduce_value(comm, all.sentences, cluster::Op::sum);
  return all;
}

// A concept's tokens weighted by how much they are its own; common words weigh nothing.
Profiles local_profiles(const Share& share, const Background& whole, double standard) {
  Profiles profiles;
  for (const auto& own : share.frequencies) {
    auto weights = z_scores(own.ids, own, whole, own, standard);
    for (double& weight : weights) weight = std::max(0.0, weight);
    append_profile(profiles, own.ids, weights);
  }
  return profiles;
}

// Collective.
Profiles gather_profiles(cluster::Communicator& comm, const Profiles& local) {
  std::vector<std::int64_t> sizes;
  for (std::int64_t c = 0; c < local.size(); ++c)
    sizes.push_back(local.offsets[c + 1] - local.offsets[c]);
  Profiles all;
  for (const auto size : cluster::all_gather(comm, std::span<const std::int64_t>(sizes)).values)
    all.offsets.push_back(all.offsets.back() + size);
  all.ids = cluster::all_gather(comm, std::span<const std::int32_t>(local.ids)).values;
  all.weights = cluster::all_gather(comm, std::span<const float>(local.weights)).values;
  return all;
}

// Collective. The group of every concept, the same on all ranks.
std::vector<std::int64_t> find_groups(const Inputs& inputs, const Share& share,
                                      const Background& whole, const Options& options,
                                      cluster::Communicator& comm) {
  const auto profiles =
      gather_profiles(comm, local_profiles(share, whole, options.standard_background));
  std::vector<std::int64_t> flat;
  for (const auto& [c, other] : similar_pairs(profiles, share.concepts, options.group_similarity))
    flat.insert(flat.end(), {c, other});
  const auto all = cluster::all_gather(comm, std::span<const std::int64_t>(flat)).values;
  std::vector<std::vector<std::string>> names;
  for (std::int64_t c = 0; c < inputs.concepts; ++c) names.push_back(inputs.names(c));
  auto pairs = pairs_by_name(names);
  for (std::size_t i = 0; i < all.size(); i += 2) pairs.emplace_back(all[i], all[i + 1]);
  return connected_groups(inputs.concepts, pairs);
}

// Document frequencies of whole groups, summed when first asked for.
class GroupFrequencies {
 public:
  GroupFrequencies(const Inputs& inputs, const std::vector<std::int64_t>& groups)
      : inputs_(inputs), groups_(groups) {}

  const DocumentFrequencies& of(std::int64_t group) {
    const auto [entry, fresh] = sums_.try_emplace(group);
    for (auto c = group; fresh && c < inputs_.concepts; ++c)
      if (groups_[c] == group) entry->second = sum_of(entry->second, inputs_.frequencies(c));
    return entry->second;
  }

 private:
  const Inputs& inputs_;
  const std::vector<std::int64_t>& groups_;
  std::map<std::int64_t, DocumentFrequencies> sums_;
};

// What this rank's concepts are judged against, made when first needed.
class Benches {
 public:
  Benches(const Inputs& inputs, const Options& options, const Background& whole,
          const std::vector<std::int64_t>& groups)
      : inputs_(inputs), options_(options), whole_(whole), frequencies_(inputs, groups) {
    if (options.variants) words_.emplace(inputs.vocab, inputs.decoded);
  }

  Verdict judge(std::int64_t concept_index, std::int64_t group, const DocumentFrequencies& own) {
    const auto& members = frequencies_.of(group);
    const bool alone = members.sentences + inputs_.neutral.sentences == whole_.sentences;
    static const DocumentFrequencies nothing;
    auto verdict = selection::judge({inputs_, options_, alone ? general() : whole_,
                                     alone ? nothing : members, words_ ? &*words_ : nullptr},
                                    concept_index, own);
    verdict.group = group;
    verdict.alone = alone;
    return verdict;
  }

 private:
  // The neutral text and as many general sentences as a background usually has.
  const Background& general() {
    if (!general_) {
      const double standard = options_.standard_background;
      general_.emplace(Background{std::vector<std::int64_t>(inputs_.vocab, 0), 0});
      add(*general_, inputs_.general(standard > 0 ? std::llround(standard) : usual_background));
      add(*general_, inputs_.neutral);
    }
    return *general_;
  }

  static constexpr std::int64_t usual_background = 3000;
  const Inputs& inputs_;
  const Options& options_;
  const Background& whole_;
  GroupFrequencies frequencies_;
  std::optional<WordIndex> words_;
  std::optional<Background> general_;
};

// Collective. The sum over concepts of what `count` says of each.
std::int64_t global_sum(cluster::Communicator& comm, const std::vector<Verdict>& verdicts,
                        const std::function<std::int64_t(const Verdict&)>& count) {
  std::int64_t here = 0;
  for (const auto& verdict : verdicts) here += count(verdict);
  return cluster::all_reduce_value(comm, here, cluster::Op::sum);
}

// Collective.
void warn_of(cluster::Communicator& comm, const std::vector<Verdict>& verdicts,
             const std::function<std::int64_t(const Verdict&)>& count, const char* what) {
  const auto all = global_sum(comm, verdicts, count);
  if (all > 0 && comm.rank() == 0)
    cluster::log_warning("selection: " + std::to_string(all) + " " + what);
}

// Collective. What a user should know of the outcome.
void tell(cluster::Communicator& comm, const Options& options,
          const std::vector<Verdict>& verdicts) {
  warn_of(
      comm, verdicts, [](const Verdict& verdict) { return verdict.choice.fallback ? 1 : 0; },
      "concepts have no feature of the least ratio; all their features are taken");
  warn_of(
      comm, verdicts, [](const Verdict& verdict) { return verdict.alone ? 1 : 0; },
      "concepts have no other concept to contrast with: the neutral text and general word "
      "frequencies took their place");
  warn_of(
      comm, verdicts, [](const Verdict& verdict) { return verdict.without_feature; },
      "of the tokens named by selection.manual have no coefficient in the features and stay as "
      "they are");
  warn_of(
      comm, verdicts,
      [](const Verdict& verdict) {
        return std::ranges::count(verdict.judged, Judged::missing, &Judgement::state);
      },
      "features have no answer of the judge: missing values, neither yes nor no");
  warn_of(
      comm, verdicts,
      [](const Verdict& verdict) { return verdict.choice.selected.tokens.empty() ? 1 : 0; },
      "concepts have no token of their own to edit (no_features)");
  const auto tokens = global_sum(
      comm, verdicts, [](const auto& v) { return std::ssize(v.choice.selected.tokens); });
  const auto variants =
      global_sum(comm, verdicts, [](const auto& v) { return std::ssize(v.variants); });
  if (comm.rank() == 0)
    cluster::log_info("selection: by " + options.method + ", " + std::to_string(tokens) +
                      " tokens and " + std::to_string(variants) + " variants of them");
}

}  // namespace

Selection::Selection(const std::filesystem::path& file)
    : store_(file, stage_name, schema), feature_offsets_{0} {
  groups_ = store_.read<std::int64_t>("concepts/group");
  for (const auto features : store_.read<std::int64_t>("concepts/feature_count"))
    feature_offsets_.push_back(feature_offsets_.back() + features);
}

Selected Selection::selected(std::int64_t concept_index) const {
  const cluster::Range features{feature_offsets_.at(concept_index),
                                feature_offsets_.at(concept_index + 1)};
  const auto marks = store_.read_rows<std::uint8_t>("features/selected", features);
  Selected out;
  for (std::size_t k = 0; k < marks.size(); ++k)
    if (marks[k] != 0) out.features.push_back(static_cast<std::int32_t>(k));
  out.tokens =
      store_.read_ragged<std::int32_t>("tokens/ids", {concept_index, concept_index + 1}).at(0);
  const cluster::Range row{concept_index, concept_index + 1};
  const auto variants = store_.read_ragged<std::int32_t>("variants/ids", row).at(0);
  const auto stems = store_.read_ragged<std::int32_t>("variants/stems", row).at(0);
  for (std::size_t i = 0; i < variants.size(); ++i) out.variants.push_back({variants[i], stems[i]});
  return out;
}

std::vector<Candidate> judge_candidates(const Inputs& inputs, const Options& options,
                                        std::int64_t concept_index) {
  const auto factors = inputs.factors(concept_index);
  const auto own = inputs.frequencies(concept_index);
  // The ratio is a matter of labels alone.
  const TokenEvidence evidence{std::vector<double>(factors.tokens.size(), 0.0),
                               labels_of(factors.tokens, own, inputs.neutral)};
  const auto ratio = feature_statistics(factors, evidence, options.own_z).ratio;
  std::vector<Candidate> out;
  for (std::int64_t k = 0; k < factors.rank; ++k) {
    if (options.judge_candidates == "ratio" && !(ratio[k] >= options.ratio)) continue;
    auto places = strongest_first(factors, k);
    if (places.empty()) continue;
    places.resize(std::min(places.size(), judged_tokens));
    out.push_back({concept_index, static_cast<std::int32_t>(k), {}});
    for (const auto place : places)
      out.back().tokens.push_back(inputs.decoded(factors.tokens[factors.rows[place]]));
  }
  return out;
}

Selection run(const Inputs& inputs, const Options& options, cluster::Context& context) {
  auto& comm = context.world();
  const auto share = read_share(inputs, comm);
  const auto whole = global_background(inputs, share, comm);
  const auto groups = find_groups(inputs, share, whole, options, comm);
  std::vector<Verdict> verdicts;
  cluster::agree(comm, [&] {
    Benches benches(inputs, options, whole, groups);
    for (auto c = share.concepts.begin; c < share.concepts.end; ++c)
      verdicts.push_back(benches.judge(c, groups[c], share.frequencies[c - share.concepts.begin]));
  });
  tell(comm, options, verdicts);
  const auto path = context.run_directory / "selection.h5";
  write_selection(comm, path, {stage_name, schema, inputs.run_id, inputs.inputs_hash},
                  share.concepts.begin, verdicts);
  return Selection(path);
}

}  // namespace quench::selection
