#include "stages/selection/selection_file.hpp"

#include <algorithm>

#include "cluster/collectives.hpp"
#include "cluster/partition.hpp"

namespace quench::selection {

namespace {

// One rank's block of concepts, laid out as selection.h5 is.
struct Block {
  std::vector<std::string> hashes;
  std::vector<std::int64_t> features, groups, background_sentences, candidates;  // of each concept
  std::vector<std::uint8_t> fallback;
  std::vector<double> contrast, own_share, ratio;  // of each feature
  std::vector<std::uint8_t> selected;
  std::vector<std::vector<std::int32_t>> tokens, sentences;  // of each concept
  std::vector<std::vector<double>> z;
};

void extend(std::vector<double>& all, const std::vector<double>& more) {
  all.insert(all.end(), more.begin(), more.end());
}

Block lay_out(const std::vector<Verdict>& verdicts) {
  Block block;
  for (const auto& verdict : verdicts) {
    const auto& choice = verdict.choice;
    block.hashes.push_back(verdict.hash);
    block.groups.push_back(verdict.group);
    block.background_sentences.push_back(verdict.background_sentences);
    block.candidates.push_back(choice.candidates);
    block.fallback.push_back(choice.fallback ? 1 : 0);
    const auto before = block.selected.size();
    block.selected.resize(before + verdict.statistics.contrast.size(), 0);
    for (const auto k : choice.selected.features) block.selected[before + k] = 1;
    block.features.push_back(static_cast<std::int64_t>(verdict.statistics.contrast.size()));
    extend(block.contrast, verdict.statistics.contrast);
    extend(block.own_share, verdict.statistics.own_share);
    extend(block.ratio, verdict.statistics.ratio);
    block.tokens.push_back(choice.selected.tokens);
    block.sentences.push_back(verdict.sentences);
    block.z.push_back(verdict.z);
  }
  return block;
}

struct Collisions {
  std::vector<std::int32_t> tokens;
  std::vector<std::vector<std::int64_t>> concepts;  // of each token, ascending
};

// Tokens selected for several concepts, by id.
Collisions collisions_of(std::vector<std::pair<std::int32_t, std::int64_t>> selections) {
  std::sort(selections.begin(), selections.end());
  Collisions out;
  for (auto first = selections.begin(); first != selections.end();) {
    const auto last = std::find_if(first, selections.end(), [&](const auto& selection) {
      return selection.first != first->first;
    });
    if (last - first > 1) {
      out.tokens.push_back(first->first);
      out.concepts.emplace_back();
      for (auto i = first; i != last; ++i) out.concepts.back().push_back(i->second);
    }
    first = last;
  }
  return out;
}

// Collective. Every rank finds all collisions and keeps its share of them.
Collisions local_collisions(cluster::Communicator& comm, const Block& block,
                            std::int64_t first_concept) {
  std::vector<std::int32_t> tokens;
  std::vector<std::int64_t> owners;
  for (std::size_t i = 0; i < block.tokens.size(); ++i) {
    tokens.insert(tokens.end(), block.tokens[i].begin(), block.tokens[i].end());
    owners.resize(tokens.size(), first_concept + static_cast<std::int64_t>(i));
  }
  const auto all_tokens = cluster::all_gather(comm, std::span<const std::int32_t>(tokens));
  const auto all_owners = cluster::all_gather(comm, std::span<const std::int64_t>(owners));
  std::vector<std::pair<std::int32_t, std::int64_t>> selections;
  for (std::size_t i = 0; i < all_tokens.values.size(); ++i)
    selections.emplace_back(all_tokens.values[i], all_owners.values[i]);
  const auto all = collisions_of(std::move(selections));
  const auto own =
      cluster::rows_of(static_cast<std::int64_t>(all.tokens.size()), comm.size(), comm.rank());
  return {{all.tokens.begin() + own.begin, all.tokens.begin() + own.end},
          {all.concepts.begin() + own.begin, all.concepts.begin() + own.end}};
}

}  // namespace

void write_selection(cluster::Communicator& comm, const std::filesystem::path& path,
                     const cluster::StoreHeader& header, std::int64_t first_concept,
                     const std::vector<Verdict>& verdicts) {
  const auto block = lay_out(verdicts);
  const auto collisions = local_collisions(comm, block, first_concept);
  const cluster::Axes by_concept{{"concept"}, ""};
  const cluster::Axes by_feature{{"feature"}, ""};
  cluster::StoreWriter writer(comm, path, header);
  writer.write_strings("concepts/hash", block.hashes, by_concept);
  writer.write_rows<std::int64_t>("concepts/group", block.groups, {}, by_concept);
  writer.write_rows<std::int64_t>("concepts/background_sentences", block.background_sentences, {},
                                  by_concept);
  writer.write_rows<std::int64_t>("concepts/candidates", block.candidates, {}, by_concept);
  writer.write_rows<std::uint8_t>("concepts/fallback", block.fallback, {}, by_concept);
  writer.write_rows<std::int64_t>("concepts/feature_count", block.features, {}, by_concept);
  writer.write_rows<double>("features/contrast", block.contrast, {}, by_feature);
  writer.write_rows<double>("features/own_share", block.own_share, {}, by_feature);
  writer.write_rows<double>("features/ratio", block.ratio, {}, by_feature);
  writer.write_rows<std::uint8_t>("features/selected", block.selected, {}, by_feature);
  writer.write_ragged("tokens/ids", block.tokens, by_concept);
  writer.write_ragged("tokens/z", block.z, by_concept);
  writer.write_ragged("tokens/sentences", block.sentences, by_concept);
  writer.write_rows<std::int32_t>("collisions/tokens", collisions.tokens, {}, {{"collision"}, ""});
  writer.write_ragged("collisions/concepts", collisions.concepts, {{"collision"}, ""});
  writer.attribute("/", "failures", std::int64_t{0});
  writer.finish();
}

}  // namespace quench::selection
