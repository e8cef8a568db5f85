#include "stages/evaluation/pieces.hpp"

#include <algorithm>

#include "cluster/hash.hpp"

namespace quench::evaluation {

namespace {
constexpr std::int64_t shared_chunk = 32;  // probes: about the work of one concept
}

std::vector<Piece> make_pieces(const ProbeSource& source) {
  std::vector<Piece> pieces;
  for (std::int64_t c = 0; c < source.concepts; ++c) {
    pieces.push_back({{source.offsets[c], source.offsets[c + 1]}, c});
  }
  const std::int64_t end = source.offsets.back();
  for (std::int64_t begin = source.offsets[source.concepts]; begin < end; begin += shared_chunk) {
    pieces.push_back({{begin, std::min(end, begin + shared_chunk)}, -1});
  }
  return pieces;
}

const std::vector<Probe>& PieceReader::shared() {
  if (!shared_) shared_ = source_.shared();
  return *shared_;
}

std::vector<Probe> PieceReader::probes(const Piece& piece) {
  if (piece.concept_index >= 0) return source_.of_concept(piece.concept_index);
  const auto first = shared().begin() - source_.offsets[source_.concepts];
  return {first + piece.ids.begin, first + piece.ids.end};
}

std::string key_of(const std::vector<std::string>& parts) {
  cluster::Sha256 hash;
  for (const auto& part : parts) hash.field(part);
  return hash.hex();
}

void write_measurements(cluster::StoreWriter& store, const std::string& group,
                        const std::vector<Measurement>& local) {
  std::vector<std::vector<float>> values;
  std::vector<std::vector<std::int32_t>> answers;
  std::vector<std::uint8_t> reused;
  for (const auto& m : local) {
    values.push_back(m.values);
    answers.push_back(m.answer);
    reused.push_back(m.reused ? 1 : 0);
  }
  store.write_ragged<float>(group + "/values", values, {{"probe", "value"}, "nats or counts"});
  store.write_ragged<std::int32_t>(group + "/answers", answers, {{"probe", "token"}, ""});
  store.write_rows<std::uint8_t>(group + "/reused", reused, {}, {{"probe"}, ""});
}

}  // namespace quench::evaluation
