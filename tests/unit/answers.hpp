#pragma once

#include <deque>
#include <vector>

#include "stages/evaluation/metrics.hpp"

namespace quench::evaluation::testing {

inline Measurement said(std::vector<float> values, bool reused = false) {
  Measurement measurement;
  measurement.values = std::move(values);
  measurement.reused = reused;
  return measurement;
}

// Probes with what the base model and the edited one said to them.
class Answers {
 public:
  void add(ProbeKind kind, Subset subset, std::vector<float> base, std::vector<float> now,
           bool reused = false) {
    Probe probe;
    probe.kind = kind;
    probe.subset = subset;
    probe.split = split;
    probe.correct = correct_;
    probes_.push_back(probe);
    said_.push_back(said(std::move(base)));
    said_.push_back(said(std::move(now), reused));
    pairs_.push_back({&probes_.back(), &said_[said_.size() - 2], &said_.back()});
  }
  // A question with these margins; right where they are positive.
  void add_choice(Subset subset, float base, float now, bool reused = false) {
    correct_ = (correct_ + 1) % 4;
    add(ProbeKind::choice, subset, with_margin(base), with_margin(now), reused);
  }
  std::span<const Pair> pairs() const { return pairs_; }

  Split split = Split::test;

 private:
  std::vector<float> with_margin(float margin) const {
    std::vector<float> values(4, -8);
    values[static_cast<std::size_t>(correct_)] += margin;
    return values;
  }

  std::int32_t correct_ = 0;
  std::deque<Probe> probes_;
  std::deque<Measurement> said_;
  std::vector<Pair> pairs_;
};

inline double width(const Estimate& e) { return e.interval.high - e.interval.low; }

}  // namespace quench::evaluation::testing
