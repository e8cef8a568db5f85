#pragma once

// Inside stages/evaluation only: which figures there are, and those made of others.
#include <cstdint>
#include <string>
#include <vector>

#include "stages/evaluation/metrics.hpp"

namespace quench::evaluation {

// Where the numbers of a task's probes of one subset stand among the figures.
struct Place {
  ProbeKind kind;
  Subset subset;
  std::size_t width = 0;             // numbers
  std::size_t base = 0, edited = 0;  // first figure of the base model's, and of the edited one's
  std::vector<bool> exponential;
};

struct Layout {
  std::vector<Place> strata;
  std::vector<std::string> names;
  std::size_t stratum(ProbeKind kind, Subset subset) const;  // InternalError: there is none
};
const Layout& layout();

// Which parts these figures of the tasks measure.
MeasuredParts measured_parts(const std::vector<double>& figures, const Rules& rules);

// Fills in the composite figures, from those of the tasks; and how many items they are of. Parts
// that are not measured are left out. A resample's figure is NaN where it happens not to measure a
// part that the whole sample does: it would be another figure without it.
void add_composites(std::vector<double>& figures, const Rules& rules, const MeasuredParts& parts);
void add_composite_counts(std::vector<std::int64_t>& counts, const Rules& rules,
                          const MeasuredParts& parts);

}  // namespace quench::evaluation
