#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "stages/interval.hpp"
#include "stages/tasks/task.hpp"
#include "stages/types.hpp"

// From measurements to figures (methods 7.4), with intervals by bootstrap over items, paired with
// the base model. Local maths, no communication.
namespace quench::evaluation {

// A probe beside what the base and the edited model said to it.
struct Pair {
  const Probe* probe = nullptr;
  const Measurement* base = nullptr;
  const Measurement* edited = nullptr;
};

enum class Objective : std::uint8_t { margin, accuracy };
// The form of questions that efficacy and specificity are of; general questions of an open
// evaluation are lettered ones, or choices where there are none.
enum class Form : std::uint8_t { choice, letter, open };

// Whether a question is of the form that decides efficacy and specificity.
bool is_of_form(Form form, const Probe& probe);
// The accuracy of own and similar questions of a form, as figures call it behind the subset's name.
std::string accuracy_name(Form form);

// What figures are made by.
struct Rules {
  Objective objective = Objective::margin;  // of choices; other forms have accuracies alone
  Form form = Form::choice;
  bool unguarded_fraction = false;  // the reference's division, whatever the base model's accuracy
  bool judged = false;              // coherence is of a judge's ratings
  tasks::Reading reading;
};

// Which parts of the composite figures a sample measures at all: what is left of the own, similar
// and general questions, by the deciding rules and then by the accuracy of each form, and
// coherence. A part that it does not (no questions, or the untouched model is not above chance) is
// left out of the figures made of several.
struct MeasuredParts {
  std::array<std::array<bool, 3>, 4> left{};
  bool coherence = false;
};

// The names of all figures, in the order of their columns: composites (own_left, similar_left,
// general_left, efficacy, specificity, coherence, harmonic, harmonic_all), efficacy, specificity
// and harmonic_all by the accuracy of each form, then every task's numbers by subset, of the base
// model (base_own_margin) and of the edited one (own_margin).
const std::vector<std::string>& figure_names();
// Throws InternalError for a name that is none.
std::size_t figure_index(std::string_view name);

// The figures of one model state on one split, relative to the base model.
struct Scores {
  Scores();                               // all not measured
  std::vector<Estimate> figures;          // as figure_names()
  std::int64_t reused = 0, measured = 0;  // probes answered by exact reuse, and by computation

  const Estimate& operator[](std::string_view name) const { return figures[figure_index(name)]; }
  Estimate& operator[](std::string_view name) { return figures[figure_index(name)]; }
  // Calls visit(name, Estimate&) for every figure, in the order of their columns.
  template <typename Self, typename Visit>
  static void for_each(Self& self, const Visit& visit) {
    for (std::size_t f = 0; f < self.figures.size(); ++f) visit(figure_names()[f], self.figures[f]);
  }
};

// The items of one split, sorted by task and subset: what resampling draws from. Draws of general
// items are the same for all concepts, so that resamples of several concepts can be averaged.
class Sample {
 public:
  // purpose keys the random numbers.
  Sample(std::span<const Pair> pairs, Split split, const Rules& rules, const std::string& purpose);

  // All figures of the items as they are.
  std::vector<double> figures() const;
  // Of resample `draw`; `again`: another draw of the concept's items beside the same general ones.
  std::vector<double> resampled(std::int64_t draw, std::int64_t again = 0) const;
  // Items that each figure is of.
  std::vector<std::int64_t> counts() const;
  // Figures with 95% percentile intervals; resamples 0: without.
  Scores scores(std::int64_t resamples) const;

 private:
  struct Stratum {
    std::size_t width = 0;            // numbers of the task
    std::vector<tasks::Ratio> items;  // [item, 2 x width]: the base's, then the edited model's
    std::size_t size() const { return items.size() / (2 * width); }
  };
  using Totals = std::vector<std::vector<tasks::Ratio>>;  // [stratum][2 x width]

  Totals total_of_all() const;
  std::vector<tasks::Ratio> total(const Stratum& stratum,
                                  const std::vector<std::size_t>& picks) const;
  // The tasks' figures; and with those made of them.
  std::vector<double> numbers_of(const Totals& totals) const;
  std::vector<double> figures_of(const Totals& totals) const;

  Rules rules_;
  std::string purpose_;
  std::vector<Stratum> strata_;  // a task and subset each, in the order of their columns
  std::int64_t reused_ = 0, measured_ = 0;
  MeasuredParts parts_;    // of the items as they are; resamples are of the same parts
  mutable Totals shared_;  // totals of general items of draw shared_draw_
  mutable std::int64_t shared_draw_ = -1;
};

Scores summarise(std::span<const Pair> pairs, Split split, const Rules& rules,
                 std::int64_t resamples, const std::string& purpose);

// What is left of a base model's figure above `floor` (0.25: chance of four options), in [0, 1]
// (methods 7.4). NaN where the base has nothing above it; unguarded: as the reference computes it,
// 0 where the base is at the floor.
double fraction_left(double now, double base, double floor, bool unguarded = false);

// Mean margin of the base model on the own questions of both splits; known when the low end of its
// 95% interval is above 0.
Estimate base_margin(std::span<const Pair> pairs, std::int64_t resamples,
                     const std::string& purpose);

// What coherence is the harmonic mean of without a judge: what is left of fluency, and of
// non-repetition. NaN: not measured, as there are no instructions, or the untouched model answers
// none of them; of non-repetition also where its answers repeat themselves throughout.
struct CoherenceParts {
  double fluency, variety;
};
CoherenceParts coherence_parts(const std::vector<double>& figures);

// n / sum(1/v); 0 if any v is not finite or <= 0 (methods 7.4).
double harmonic_mean(std::span<const double> values);

// Figures with the percentile intervals of `resamples` draws; n: items that each one is of.
std::vector<Estimate> with_intervals(
    const std::vector<double>& values, const std::vector<std::int64_t>& n, std::int64_t resamples,
    const std::function<std::vector<double>(std::int64_t draw)>& resampled);

}  // namespace quench::evaluation
