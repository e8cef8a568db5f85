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
  std::vector<std::uint8_t> fallback, alone;
  std::vector<double> contrast, own_share, ratio;  // of each feature
  std::vector<std::uint8_t> selected;
  std::vector<std::vector<std::int32_t>> tokens, sentences;  // of each concept
  std::vector<std::vector<double>> z;
  std::vector<std::uint8_t> judged;  // of each feature, as the following two
  std::vector<double> confidence;
  std::vector<std::string> description;
  std::vector<std::vector<std::int32_t>> variants, stems;  // of each concept, as all that follows
  std::vector<std::vector<std::uint8_t>> kinship;
  std::vector<std::vector<double>> variant_z, cosine;
  std::vector<std::vector<std::int32_t>> misses;
  std::vector<std::vector<double>> miss_z;
  std::vector<std::vector<std::uint8_t>> reason;
};

// One member of every element.
template <typename Range, typename Member>
auto column(const Range& range, const Member& member) {
  std::vector<std::decay_t<decltype(member(*range.begin()))>> out;
  for (const auto& element : range) out.push_back(member(element));
  return out;
}

void lay_out_judged(const Verdict& verdict, Block& block) {
  auto judged = verdict.judged;
  judged.resize(verdict.statistics.contrast.size());
  for (const auto& judgement : judged) {
    block.judged.push_back(static_cast<std::uint8_t>(judgement.state));
    block.confidence.push_back(judgement.confidence);
    block.description.push_back(judgement.description);
  }
}

void lay_out_neighbourhood(const Verdict& verdict, Block& block) {
  const auto& variants = verdict.variants;
  const auto& misses = verdict.misses;
  block.variants.push_back(column(variants, [](const auto& v) { return v.variant.token; }));
  block.stems.push_back(column(variants, [](const auto& v) { return v.variant.stem; }));
  block.kinship.push_back(
      column(variants, [](const auto& v) { return static_cast<std::uint8_t>(v.kinship); }));
  block.variant_z.push_back(column(variants, [](const auto& v) { return v.z; }));
  block.cosine.push_back(column(variants, [](const auto& v) { return v.cosine; }));
  block.misses.push_back(column(misses, [](const auto& m) { return m.token; }));
  block.miss_z.push_back(column(misses, [](const auto& m) { return m.z; }));
  block.reason.push_back(
      column(misses, [](const auto& m) { return static_cast<std::uint8_t>(m.reason); }));
}

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
    block.alone.push_back(verdict.alone ? 1 : 0);
    lay_out_judged(verdict, block);
    lay_out_neighbourhood(verdict, block);
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
    for (const auto* ids : {&block.tokens[i], &block.variants[i]})
      tokens.insert(tokens.end(), ids->begin(), ids->end());
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

void write_concepts(cluster::StoreWriter& writer, const Block& block) {
  const cluster::Axes axes{{"concept"}, ""};
  writer.write_strings("concepts/hash", block.hashes, axes);
  writer.write_rows<std::int64_t>("concepts/group", block.groups, {}, axes);
  writer.write_rows<std::int64_t>("concepts/background_sentences", block.background_sentences, {},
                                  axes);
  writer.write_rows<std::uint8_t>("concepts/alone", block.alone, {}, axes);
  writer.write_rows<std::int64_t>("concepts/candidates", block.candidates, {}, axes);
  writer.write_rows<std::uint8_t>("concepts/fallback", block.fallback, {}, axes);
  writer.write_rows<std::int64_t>("concepts/feature_count", block.features, {}, axes);
}

void write_features(cluster::StoreWriter& writer, const Block& block) {
  const cluster::Axes axes{{"feature"}, ""};
  writer.write_rows<double>("features/contrast", block.contrast, {}, axes);
  writer.write_rows<double>("features/own_share", block.own_share, {}, axes);
  writer.write_rows<double>("features/ratio", block.ratio, {}, axes);
  writer.write_rows<std::uint8_t>("features/selected", block.selected, {}, axes);
  writer.write_rows<std::uint8_t>("features/judged", block.judged, {}, axes);
  writer.write_rows<double>("features/confidence", block.confidence, {}, axes);
  writer.write_strings("features/description", block.description, axes);
}

void write_tokens(cluster::StoreWriter& writer, const Block& block) {
  const cluster::Axes axes{{"concept", "token"}, ""};
  writer.write_ragged("tokens/ids", block.tokens, axes);
  writer.write_ragged("tokens/z", block.z, axes);
  writer.write_ragged("tokens/sentences", block.sentences, axes);
  writer.write_ragged("variants/ids", block.variants, axes);
  writer.write_ragged("variants/stems", block.stems, axes);
  writer.write_ragged("variants/kinship", block.kinship, axes);
  writer.write_ragged("variants/z", block.variant_z, axes);
  writer.write_ragged("variants/cosine", block.cosine, axes);
  writer.write_ragged("misses/ids", block.misses, axes);
  writer.write_ragged("misses/z", block.miss_z, axes);
  writer.write_ragged("misses/reason", block.reason, axes);
}

}  // namespace

void write_selection(cluster::Communicator& comm, const std::filesystem::path& path,
                     const cluster::StoreHeader& header, std::int64_t first_concept,
                     const std::vector<Verdict>& verdicts) {
  const auto block = lay_out(verdicts);
  const auto collisions = local_collisions(comm, block, first_concept);
  cluster::StoreWriter writer(comm, path, header);
  write_concepts(writer, block);
  write_features(writer, block);
  write_tokens(writer, block);
  writer.write_rows<std::int32_t>("collisions/tokens", collisions.tokens, {}, {{"collision"}, ""});
  writer.write_ragged("collisions/concepts", collisions.concepts, {{"collision"}, ""});
  writer.attribute("/", "failures", std::int64_t{0});
  writer.finish();
}

}  // namespace quench::selection
