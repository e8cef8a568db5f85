#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cluster/store.hpp"
#include "cluster/task_runner.hpp"
#include "stages/evaluation/evaluation.hpp"

namespace quench::evaluation {

// A contiguous run of probe ids that is one task: a concept's probes, or a chunk of the shared
// ones. Pieces in id order cover all probes.
struct Piece {
  cluster::Range ids;
  std::int64_t concept_index = -1;  // -1: shared
};
std::vector<Piece> make_pieces(const ProbeSource& source);

// The probes of pieces; keeps the shared ones, which every rank uses again and again.
class PieceReader {
 public:
  explicit PieceReader(const ProbeSource& source) : source_(source) {}
  std::vector<Probe> probes(const Piece& piece);
  const std::vector<Probe>& shared();

 private:
  const ProbeSource& source_;
  std::optional<std::vector<Probe>> shared_;
};

// A task's key: the hash of its parts.
std::string key_of(const std::vector<std::string>& parts);

// Collective. Writes measurements by probe id as GROUP/values and GROUP/answers; `local` are those
// of this rank's pieces, in id order.
void write_measurements(cluster::StoreWriter& store, const std::string& group,
                        const std::vector<Measurement>& local);

}  // namespace quench::evaluation
