#pragma once

// Inside stages/evaluation only: what tasks of the evaluation stage said, as scores and rows.
#include <optional>
#include <string>
#include <vector>

#include "cluster/task_runner.hpp"
#include "stages/evaluation/codec.hpp"
#include "stages/evaluation/evaluation.hpp"
#include "stages/evaluation/pieces.hpp"

namespace quench::evaluation {

// Probes of the test split with the base model's word on them.
struct Bank {
  std::vector<Probe> probes;
  std::vector<Measurement> base;
  std::vector<std::int64_t> places;  // of each probe among those it was chosen from

  void add(std::span<const Probe> more, std::span<const Measurement> said);
  std::vector<Pair> pairs(std::span<const Measurement> now) const;
};

// Banks of concepts and of the shared probes. Local.
class Banks {
 public:
  Banks(const ProbeSource& source, const Measurements& baseline)
      : source_(source), baseline_(baseline), reader_(source) {}

  Bank of(const Piece& piece);
  const Bank& shared();  // read once

 private:
  const ProbeSource& source_;
  const Measurements& baseline_;
  PieceReader reader_;
  std::optional<Bank> shared_;
};

// The probes of a bank that are of the form.
Bank only(Form form, const Bank& bank);

// Measurements without those that are the base model's, which the flag tells of; and back.
std::string pack_new(std::span<const Measurement> measured);
std::vector<Measurement> unpack_new(const std::string& bytes, std::span<const Measurement> base);

// A concept's items with the shared ones, as a sample.
Sample sample_of(const Bank& own, std::span<const Measurement> own_now, const Bank& shared,
                 std::span<const Measurement> shared_now, const Rules& rules,
                 const std::string& purpose);

// Collective. Rows of scores at the root as a dataset [rows, figure].
void write_scores(cluster::StoreWriter& store, const std::string& name,
                  const std::vector<Scores>& local, const char* axis);

}  // namespace quench::evaluation
