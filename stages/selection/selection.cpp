#include "stages/selection/selection.hpp"

#include <algorithm>
#include <map>

#include "cluster/collectives.hpp"
#include "cluster/log.hpp"
#include "cluster/partition.hpp"
#include "stages/selection/background.hpp"
#include "stages/selection/groups.hpp"
#include "stages/selection/selection_file.hpp"

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
Profiles local_profiles(const Share& share, const Background& whole) {
  Profiles profiles;
  for (const auto& own : share.frequencies) {
    auto weights = z_scores(own.ids, own, whole, own);
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
                                      const Background& whole, double similarity,
                                      cluster::Communicator& comm) {
  const auto profiles = gather_profiles(comm, local_profiles(share, whole));
  std::vector<std::int64_t> flat;
  for (const auto& [c, other] : similar_pairs(profiles, share.concepts, similarity))
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

Verdict judge(const Inputs& inputs, const Options& options, std::int64_t concept_index,
              const DocumentFrequencies& own, const Background& whole,
              const DocumentFrequencies& group) {
  const auto factors = inputs.factors(concept_index);
  const TokenEvidence evidence{z_scores(factors.tokens, own, whole, group),
                               labels_of(factors.tokens, own, inputs.neutral)};
  Verdict verdict;
  verdict.hash = inputs.concept_hash(concept_index);
  verdict.background_sentences = whole.sentences - group.sentences;
  verdict.statistics = feature_statistics(factors, evidence, options.own_z);
  verdict.choice = choose(factors, evidence, verdict.statistics, options);
  for (const auto place : verdict.choice.places) {
    verdict.z.push_back(evidence.z[place]);
    const auto sentences = count_of(own, factors.tokens[place]);
    verdict.sentences.push_back(static_cast<std::int32_t>(sentences));
  }
  return verdict;
}

// Collective.
void warn_of(cluster::Communicator& comm, const std::vector<Verdict>& verdicts,
             const std::function<bool(const Verdict&)>& condition, const char* what) {
  const auto here = std::count_if(verdicts.begin(), verdicts.end(), condition);
  const auto count = cluster::all_reduce_value(comm, std::int64_t{here}, cluster::Op::sum);
  if (count > 0 && comm.rank() == 0)
    cluster::log_warning("selection: " + std::to_string(count) + " concepts " + what);
}

}  // namespace

void describe(Options& options, OptionTable& table) {
  table.add_choice("selection.method", options.method,
                   "contrast with the other concepts, or the reference's ratio",
                   {"contrast", "ratio"});
  table.add("selection.contrast", options.contrast, "contrast: least contrast of a feature",
            {-3, 6});
  table.add("selection.token_z", options.token_z,
            "contrast: least z-score of a token that may be edited", {-1e6, 1e6});
  table.add("selection.own_z", options.own_z,
            "contrast: z-score from which a token counts in a feature's own share", {-1e6, 1e6});
  table.add("selection.ratio", options.ratio,
            "ratio: least ratio of mean |G|, concept over neutral", {0, 1e12});
  table.add("selection.group_similarity", options.group_similarity,
            "concepts with token profiles this similar (cosine), or with a common name or alias, "
            "leave each other's background",
            {1e-6, 2});
}

Selection::Selection(const std::filesystem::path& file)
    : store_(file, stage_name, schema), feature_offsets_{0} {
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
  return out;
}

Selection run(const Inputs& inputs, const Options& options, cluster::Context& context) {
  auto& comm = context.world();
  const auto share = read_share(inputs, comm);
  const auto whole = global_background(inputs, share, comm);
  const auto groups = find_groups(inputs, share, whole, options.group_similarity, comm);
  std::vector<Verdict> verdicts;
  cluster::agree(comm, [&] {
    GroupFrequencies group_frequencies(inputs, groups);
    for (auto c = share.concepts.begin; c < share.concepts.end; ++c) {
      verdicts.push_back(judge(inputs, options, c, share.frequencies[c - share.concepts.begin],
                               whole, group_frequencies.of(groups[c])));
      verdicts.back().group = groups[c];
    }
  });
  warn_of(
      comm, verdicts, [](const Verdict& verdict) { return verdict.choice.fallback; },
      "have no feature of the least ratio; all their features are taken");
  warn_of(
      comm, verdicts, [](const Verdict& verdict) { return verdict.choice.selected.tokens.empty(); },
      "have no token of their own to edit");
  const auto path = context.run_directory / "selection.h5";
  write_selection(comm, path, {stage_name, schema, inputs.run_id, inputs.inputs_hash},
                  share.concepts.begin, verdicts);
  return Selection(path);
}

}  // namespace quench::selection
