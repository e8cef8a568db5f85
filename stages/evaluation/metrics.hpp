#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "stages/types.hpp"

// From measurements to figures (methods 7.4), with intervals by bootstrap over items. Local maths,
// no communication.
namespace quench::evaluation {

// A probe beside what the base and the edited model said to it.
struct Pair {
  const Probe* probe = nullptr;
  const Measurement* base = nullptr;
  const Measurement* edited = nullptr;
};

// Of a choice measurement: 1 when the right option is the likeliest, 0 when another one is, 1/n
// when n options tie exactly, which is what guessing between them is worth on average. (Harnesses
// that take the first of equals, as lm-evaluation-harness does, let the order of the options
// decide.)
double share_right(const Probe& probe, const Measurement& measurement);
// The mean log-probability of a token of the right answer minus the mean over the wrong ones.
double margin(const Probe& probe, const Measurement& measurement);

enum class Objective : std::uint8_t { margin, accuracy };

// The figures of one model state on one split, relative to the base model.
struct Scores {
  // Fraction of the base model's margin (or accuracy above chance) that is left, clipped to [0, 1];
  // NaN where the base has none.
  Estimate own_left, similar_left, general_left;
  Estimate efficacy;     // 1 - own_left
  Estimate specificity;  // harmonic mean of similar_left and general_left
  Estimate coherence;  // harmonic mean of what is left of fluency (base perplexity of the answers)
                       // and of non-repetition
  Estimate harmonic;   // of efficacy and specificity
  Estimate harmonic_all;  // of efficacy, specificity and coherence
  // Raw figures of base and edited model.
  struct Raw {
    Estimate accuracy, margin, letter_accuracy, open_accuracy;
  };
  Raw base_own, own, base_similar, similar, base_general, general;
  Estimate base_text_perplexity, text_perplexity;  // of the concept's held-out paragraphs
  Estimate base_neutral_perplexity, neutral_perplexity;
  std::int64_t reused = 0, measured = 0;  // probes answered by exact reuse, and by computation

  // Calls visit(name, Estimate&) for every figure, in the order of their columns.
  template <typename Self, typename Visit>
  static void for_each(Self& self, const Visit& visit);
};

template <typename Self, typename Visit>
void Scores::for_each(Self& self, const Visit& visit) {
  visit("own_left", self.own_left);
  visit("similar_left", self.similar_left);
  visit("general_left", self.general_left);
  visit("efficacy", self.efficacy);
  visit("specificity", self.specificity);
  visit("coherence", self.coherence);
  visit("harmonic", self.harmonic);
  visit("harmonic_all", self.harmonic_all);
  const auto visit_raw = [&](const std::string& prefix, auto& raw) {
    visit(prefix + "accuracy", raw.accuracy);
    visit(prefix + "margin", raw.margin);
    visit(prefix + "letter_accuracy", raw.letter_accuracy);
    visit(prefix + "open_accuracy", raw.open_accuracy);
  };
  visit_raw("base_own_", self.base_own);
  visit_raw("own_", self.own);
  visit_raw("base_similar_", self.base_similar);
  visit_raw("similar_", self.similar);
  visit_raw("base_general_", self.base_general);
  visit_raw("general_", self.general);
  visit("base_text_perplexity", self.base_text_perplexity);
  visit("text_perplexity", self.text_perplexity);
  visit("base_neutral_perplexity", self.base_neutral_perplexity);
  visit("neutral_perplexity", self.neutral_perplexity);
}

// purpose keys the bootstrap's random numbers; resamples 0: no intervals.
Scores summarise(std::span<const Pair> pairs, Split split, Objective objective,
                 std::int64_t resamples, const std::string& purpose);

// Mean margin of the base model on the own questions of both splits; known when the low end of its
// 95% interval is above 0.
Estimate base_margin(std::span<const Pair> pairs, std::int64_t resamples,
                     const std::string& purpose);

// The concepts' mean of every figure, with intervals by bootstrap over concepts. Figures that are
// NaN for a concept are left out of its mean.
Scores mean_over_concepts(std::span<const Scores> scores, std::int64_t resamples,
                          const std::string& purpose);

// n / sum(1/v); 0 if any v is not finite or <= 0 (methods 7.4).
double harmonic_mean(std::span<const double> values);

}  // namespace quench::evaluation
