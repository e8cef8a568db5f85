#include <nlohmann/json.hpp>

#include "stages/corpus/corpus_file.hpp"

namespace quench::corpus {
namespace {

std::vector<std::string> list_of(const std::string& json_text) {
  return nlohmann::json::parse(json_text).get<std::vector<std::string>>();
}

template <typename T>
T row(const cluster::StoreReader& store, const std::string& name, std::int64_t index) {
  return store.read_rows<T>(name, {index, index + 1}).at(0);
}

std::vector<std::vector<std::int32_t>> cut(const std::vector<std::int32_t>& ids,
                                           const std::vector<std::int32_t>& lengths) {
  std::vector<std::vector<std::int32_t>> parts;
  auto at = ids.begin();
  for (const auto length : lengths) {
    parts.emplace_back(at, at + length);
    at += length;
  }
  return parts;
}

}  // namespace

Corpus::Corpus(const std::filesystem::path& file)
    : store_(file, stage_name, schema),
      names_(store_.read_strings("concepts/name")),
      hashes_(store_.read_strings("concepts/hash")),
      probe_offsets_(store_.read<std::int64_t>("probe_offsets")),
      paragraph_offsets_(store_.read<std::int64_t>("paragraph_offsets")),
      sentence_offsets_(store_.read<std::int64_t>("sentence_offsets")) {
  for (const auto& text : store_.read_strings("concepts/aliases"))
    aliases_.push_back(list_of(text));
}

ConceptNames Corpus::concept_names() const {
  ConceptNames names("the run");
  for (std::int64_t c = 0; c < concepts(); ++c) names.add(name(c), aliases(c));
  return names;
}

DocumentFrequencies Corpus::frequencies(std::int64_t concept_index) const {
  const cluster::Range one{concept_index, concept_index + 1};
  return {row<std::int64_t>(store_, "concepts/sentence_count", concept_index),
          std::move(store_.read_ragged<std::int32_t>("frequencies/ids", one).at(0)),
          std::move(store_.read_ragged<std::int32_t>("frequencies/counts", one).at(0))};
}

DocumentFrequencies Corpus::neutral_frequencies() const {
  return {row<std::int64_t>(store_, "neutral/sentence_count", 0),
          store_.read<std::int32_t>("neutral/ids"), store_.read<std::int32_t>("neutral/counts")};
}

std::vector<Probe> Corpus::probes(std::int64_t concept_index) const {
  return read_probes({probe_offsets_[concept_index], probe_offsets_[concept_index + 1]});
}

std::vector<Probe> Corpus::shared_probes() const {
  return read_probes({probe_offsets_[concepts()], probe_offsets_[concepts() + 1]});
}

std::vector<Probe> Corpus::read_probes(cluster::Range range) const {
  const auto kind = store_.read_rows<std::uint8_t>("probes/kind", range);
  const auto subset = store_.read_rows<std::uint8_t>("probes/subset", range);
  const auto split = store_.read_rows<std::uint8_t>("probes/split", range);
  const auto correct = store_.read_rows<std::int32_t>("probes/correct", range);
  auto context = store_.read_ragged<std::int32_t>("probes/context", range);
  const auto ids = store_.read_ragged<std::int32_t>("probes/continuations", range);
  const auto lengths = store_.read_ragged<std::int32_t>("probes/continuation_lengths", range);
  const auto accepted = store_.read_strings("probes/accepted", range);
  const auto asked = store_.read_strings("probes/asked", range);
  std::vector<Probe> probes;
  for (std::int64_t i = 0; i < range.size(); ++i)
    probes.push_back({.id = range.begin + i,
                      .kind = static_cast<ProbeKind>(kind[i]),
                      .subset = static_cast<Subset>(subset[i]),
                      .split = static_cast<Split>(split[i]),
                      .correct = correct[i],
                      .context = std::move(context[i]),
                      .continuations = cut(ids[i], lengths[i]),
                      .accepted = list_of(accepted[i]),
                      .asked = asked[i]});
  return probes;
}

std::vector<std::vector<std::int32_t>> Corpus::read_piece(const std::string& name,
                                                          const std::vector<std::int64_t>& offsets,
                                                          std::int64_t piece) const {
  return store_.read_ragged<std::int32_t>(name, {offsets[piece], offsets[piece + 1]});
}

std::vector<std::vector<std::int32_t>> Corpus::sentences(std::int64_t concept_index) const {
  return read_piece("sentences/tokens", sentence_offsets_, concept_index);
}

std::vector<std::vector<std::int32_t>> Corpus::neutral_sentences() const {
  return read_piece("sentences/tokens", sentence_offsets_, concepts());
}

std::vector<std::vector<std::int32_t>> Corpus::paragraphs(std::int64_t concept_index) const {
  return read_piece("paragraphs/tokens", paragraph_offsets_, concept_index);
}

}  // namespace quench::corpus
