#include <nlohmann/json.hpp>
#include <numeric>

#include "cluster/collectives.hpp"
#include "cluster/partition.hpp"
#include "stages/corpus/corpus_file.hpp"
#include "stages/tasks/task.hpp"

namespace quench::corpus {
namespace {

using Ids = std::vector<std::int32_t>;

// The rows of probes/*.
struct ProbeColumns {
  std::vector<std::uint8_t> kind, subset, split;
  Ids correct;
  std::vector<std::int64_t> concepts;  // the shared ones belong to the number of concepts
  std::vector<Ids> context, continuations, continuation_lengths;
  std::vector<std::string> accepted, asked;

  void append(const Probe& probe, std::int64_t concept_index) {
    kind.push_back(static_cast<std::uint8_t>(probe.kind));
    subset.push_back(static_cast<std::uint8_t>(probe.subset));
    split.push_back(static_cast<std::uint8_t>(probe.split));
    correct.push_back(probe.correct);
    concepts.push_back(concept_index);
    context.push_back(probe.context);
    accepted.push_back(nlohmann::json(probe.accepted).dump());
    asked.push_back(probe.asked);
    Ids& ids = continuations.emplace_back();
    Ids& lengths = continuation_lengths.emplace_back();
    for (const auto& one : probe.continuations) {
      ids.insert(ids.end(), one.begin(), one.end());
      lengths.push_back(static_cast<std::int32_t>(one.size()));
    }
  }
};

// What one rank writes.
struct Block {
  std::vector<std::string> names, hashes, aliases;
  std::vector<std::int64_t> sentence_count;
  std::vector<Ids> frequency_ids, frequency_counts;
  std::vector<std::int64_t> probe_count, paragraph_count, sentence_lines;  // by piece, the shared
                                                                           // one included
  std::vector<Ids> paragraphs, sentences;
  ProbeColumns probes;

  void append(Piece piece, std::int64_t index) {
    for (const auto& probe : piece.probes) probes.append(probe, index);
    probe_count.push_back(static_cast<std::int64_t>(piece.probes.size()));
    paragraph_count.push_back(static_cast<std::int64_t>(piece.paragraphs.size()));
    sentence_lines.push_back(static_cast<std::int64_t>(piece.sentences.size()));
    std::ranges::move(piece.paragraphs, std::back_inserter(paragraphs));
    std::ranges::move(piece.sentences, std::back_inserter(sentences));
  }

  void append(const ConceptEntry& entry, DocumentFrequencies frequencies) {
    names.push_back(entry.name);
    hashes.push_back(entry.hash);
    aliases.push_back(nlohmann::json(entry.aliases).dump());
    sentence_count.push_back(frequencies.sentences);
    frequency_ids.push_back(std::move(frequencies.ids));
    frequency_counts.push_back(std::move(frequencies.counts));
  }
};

// Collective. The start of each of the local pieces in the rows of all ranks; the last rank adds
// the end of all.
std::vector<std::int64_t> global_offsets(cluster::Communicator& comm,
                                         const std::vector<std::int64_t>& counts) {
  const std::int64_t local = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
  const auto totals = cluster::all_gather(comm, std::span(&local, 1)).values;
  std::vector<std::int64_t> offsets{
      std::accumulate(totals.begin(), totals.begin() + comm.rank(), std::int64_t{0})};
  for (const auto count : counts) offsets.push_back(offsets.back() + count);
  if (comm.rank() + 1 < comm.size()) offsets.pop_back();
  return offsets;
}

template <typename T>
void write(cluster::StoreWriter& store, const std::string& name, const std::vector<T>& rows,
           const char* axis) {
  if constexpr (std::is_same_v<T, std::string>)
    store.write_strings(name, rows, {{axis}, ""});
  else if constexpr (std::is_same_v<T, Ids>)
    store.write_ragged(name, rows, {{axis, "token"}, ""});
  else
    store.write_rows(name, std::span<const T>(rows), {}, {{axis}, ""});
}

void write_probes(cluster::StoreWriter& store, const ProbeColumns& probes) {
  write(store, "probes/kind", probes.kind, "probe");
  std::string kinds;
  for (const auto* task : tasks::all_tasks())
    kinds += (kinds.empty() ? "" : ", ") + std::to_string(static_cast<int>(task->kind())) + " " +
             task->name();
  store.attribute("probes/kind", "values", kinds);
  write(store, "probes/subset", probes.subset, "probe");
  store.attribute("probes/subset", "values", "0 own, 1 similar, 2 general");
  write(store, "probes/split", probes.split, "probe");
  store.attribute("probes/split", "values", "0 train, 1 test");
  write(store, "probes/correct", probes.correct, "probe");
  write(store, "probes/concept", probes.concepts, "probe");
  write(store, "probes/context", probes.context, "probe");
  write(store, "probes/continuations", probes.continuations, "probe");
  store.write_ragged("probes/continuation_lengths", probes.continuation_lengths,
                     {{"probe", "continuation"}, "tokens"});
  write(store, "probes/accepted", probes.accepted, "probe");
  write(store, "probes/asked", probes.asked, "probe");
}

}  // namespace

void write_corpus(cluster::Communicator& comm, const std::filesystem::path& file,
                  const Inputs& inputs, const std::function<Piece(std::int64_t)>& piece) {
  const auto concepts = static_cast<std::int64_t>(inputs.concepts.size());
  const auto own = cluster::rows_of(concepts, comm.size(), comm.rank());
  const bool is_last = comm.rank() + 1 == comm.size();
  Block block;
  DocumentFrequencies neutral;
  cluster::agree(comm, [&] {
    for (auto c = own.begin; c < own.end; ++c) {
      Piece one = piece(c);
      block.append(inputs.concepts[c], std::move(one.frequencies));
      block.append(std::move(one), c);
    }
    if (!is_last) return;
    Piece shared = piece(concepts);
    neutral = std::move(shared.frequencies);
    block.append(std::move(shared), concepts);
  });

  cluster::StoreWriter store(comm, file, {stage_name, schema, inputs.run_id, inputs.inputs_hash});
  write(store, "concepts/name", block.names, "concept");
  write(store, "concepts/hash", block.hashes, "concept");
  write(store, "concepts/aliases", block.aliases, "concept");
  write(store, "concepts/sentence_count", block.sentence_count, "concept");
  write(store, "frequencies/ids", block.frequency_ids, "concept");
  write(store, "frequencies/counts", block.frequency_counts, "concept");
  write(store, "neutral/ids", neutral.ids, "token");
  write(store, "neutral/counts", neutral.counts, "token");
  write(store, "neutral/sentence_count",
        is_last ? std::vector{neutral.sentences} : std::vector<std::int64_t>{}, "text");
  write_probes(store, block.probes);
  write(store, "probe_offsets", global_offsets(comm, block.probe_count), "piece");
  write(store, "paragraphs/tokens", block.paragraphs, "paragraph");
  write(store, "paragraph_offsets", global_offsets(comm, block.paragraph_count), "piece");
  write(store, "sentences/tokens", block.sentences, "sentence");
  write(store, "sentence_offsets", global_offsets(comm, block.sentence_lines), "piece");
  store.attribute("/", "failures", std::int64_t{0});  // a failed task fails the stage
  store.finish();
}

}  // namespace quench::corpus
