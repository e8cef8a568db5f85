#include <nlohmann/json.hpp>

#include "stages/corpus/pieces.hpp"

namespace quench::corpus {
namespace {

using nlohmann::json;

json to_json(const Probe& probe) {
  return {probe.kind,    probe.subset,        probe.split,    probe.correct,
          probe.context, probe.continuations, probe.accepted, probe.asked};
}

Probe to_probe(const json& fields) {
  return {.kind = fields[0],
          .subset = fields[1],
          .split = fields[2],
          .correct = fields[3],
          .context = fields[4],
          .continuations = fields[5],
          .accepted = fields[6],
          .asked = fields[7]};
}

}  // namespace

std::string to_payload(const Piece& piece) {
  json probes = json::array();
  for (const auto& probe : piece.probes) probes.push_back(to_json(probe));
  const json fields{{"sentences", piece.sentences},
                    {"ids", piece.frequencies.ids},
                    {"counts", piece.frequencies.counts},
                    {"probes", std::move(probes)},
                    {"paragraphs", piece.paragraphs}};
  std::string payload;
  json::to_cbor(fields, payload);
  return payload;
}

Piece from_payload(const std::string& payload) {
  const json fields = json::from_cbor(payload);
  Piece piece;
  piece.sentences = fields["sentences"];
  piece.frequencies = {std::ssize(piece.sentences), fields["ids"], fields["counts"]};
  piece.paragraphs = fields["paragraphs"];
  for (const auto& probe : fields["probes"]) piece.probes.push_back(to_probe(probe));
  return piece;
}

}  // namespace quench::corpus
