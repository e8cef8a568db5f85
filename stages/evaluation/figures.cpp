#include "stages/evaluation/figures.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>

#include "cluster/error.hpp"

namespace quench::evaluation {

namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double chance = 0.25;  // four options
constexpr std::array<const char*, 3> subset_names = {"own_", "similar_", "general_"};
constexpr std::array<const char*, 3> form_names = {"choice_", "letter_", "open_"};
constexpr std::array<const char*, 3> accuracy_names = {"accuracy", "letter_accuracy",
                                                       "open_accuracy"};

Layout make_layout() {
  Layout layout;
  layout.names = {"own_left",    "similar_left", "general_left", "efficacy",
                  "specificity", "coherence",    "harmonic",     "harmonic_all"};
  for (const std::string form : form_names)
    for (const char* figure : {"efficacy", "specificity", "harmonic_all"})
      layout.names.push_back(form + figure);
  for (const auto* task : tasks::all_tasks()) {
    const auto numbers = task->numbers();
    for (const auto subset : task->subsets()) {
      Place place{task->kind(),
                  subset,
                  numbers.size(),
                  layout.names.size(),
                  layout.names.size() + numbers.size(),
                  {}};
      for (const std::string side : {"base_", ""})
        for (const auto& number : numbers)
          layout.names.push_back(side + subset_names.at(static_cast<std::size_t>(subset)) +
                                 number.name);
      for (const auto& number : numbers) place.exponential.push_back(number.exponential);
      layout.strata.push_back(std::move(place));
    }
  }
  return layout;
}

// The figures' values by name, of the base model and of the edited one.
class Values {
 public:
  explicit Values(const std::vector<double>& figures) : figures_(figures) {}
  double base(const std::string& name) const { return figures_[figure_index("base_" + name)]; }
  double now(const std::string& name) const { return figures_[figure_index(name)]; }

 private:
  const std::vector<double>& figures_;
};

double clip(double fraction) { return std::clamp(fraction, 0.0, 1.0); }

// Harmonic mean of what is left of fluency and of non-repetition. An answer that has become empty
// is lost to both.
double coherence_of(const Values& v) {
  if (std::isnan(v.base("general_answered"))) return nan;
  const double base_answered = v.base("general_answered");
  const double answered = base_answered > 0 ? clip(v.now("general_answered") / base_answered) : 0;
  const double worse = v.base("general_answer_perplexity") / v.now("general_answer_perplexity");
  const double fluency = std::isnan(worse) ? 0 : answered * clip(worse);
  const double varied =
      clip((1 - v.now("general_repetition")) / (1 - v.base("general_repetition")));
  return harmonic_mean(std::array{fluency, varied});
}

// The number that stands for a subset in a form of questions.
std::string number_of(Form form, Subset subset, const Values* v) {
  const auto prefix = subset_names.at(static_cast<std::size_t>(subset));
  if (form == Form::open && subset == Subset::general) {
    const bool lettered = v == nullptr || !std::isnan(v->base("general_letter_accuracy"));
    return std::string(prefix) + (lettered ? "letter_accuracy" : "accuracy");
  }
  return prefix + std::string(accuracy_names.at(static_cast<std::size_t>(form)));
}

struct Left {
  double own = nan, similar = nan, general = nan;
};

Left left_by_accuracy(Form form, const Values& v, bool unguarded) {
  const auto left = [&](Subset subset) {
    const auto name = number_of(form, subset, &v);
    const bool is_open = form == Form::open && subset != Subset::general;
    return fraction_left(v.now(name), v.base(name), is_open ? 0 : chance, unguarded);
  };
  return {left(Subset::own), left(Subset::similar), left(Subset::general)};
}

Left left_by_margin(const Values& v) {
  const auto left = [&](const std::string& name) {
    return fraction_left(v.now(name), v.base(name), 0);
  };
  return {left("own_margin"), left("similar_margin"), left("general_margin")};
}

struct Composites {
  double efficacy, specificity, harmonic, harmonic_all;
};

Composites combine(const Left& left, double coherence) {
  Composites c{};
  c.efficacy = 1 - left.own;
  c.specificity = harmonic_mean(std::array{left.similar, left.general});
  c.harmonic = harmonic_mean(std::array{c.efficacy, c.specificity});
  c.harmonic_all = std::isnan(coherence)
                       ? c.harmonic
                       : harmonic_mean(std::array{c.efficacy, c.specificity, coherence});
  return c;
}

bool by_margin(const Rules& rules) {
  return rules.objective == Objective::margin && rules.form == Form::choice;
}

}  // namespace

std::size_t Layout::stratum(ProbeKind kind, Subset subset) const {
  const auto found = std::ranges::find_if(
      strata, [&](const Place& place) { return place.kind == kind && place.subset == subset; });
  if (found == strata.end())
    throw InternalError("a probe of task " + tasks::task_of(kind).name() +
                        " is of a subset that the task does not name");
  return static_cast<std::size_t>(found - strata.begin());
}

const Layout& layout() {
  static const Layout made = make_layout();
  return made;
}

const std::vector<std::string>& figure_names() { return layout().names; }

std::size_t figure_index(std::string_view name) {
  static const auto index = [] {
    std::map<std::string, std::size_t, std::less<>> places;
    for (const auto& one : figure_names()) places.emplace(one, places.size());
    return places;
  }();
  const auto found = index.find(name);
  if (found == index.end()) throw InternalError("no figure is called " + std::string(name));
  return found->second;
}

double fraction_left(double now, double base, double floor, bool unguarded) {
  const double above = base - floor;
  if (std::isnan(above) || std::isnan(now)) return nan;
  if (unguarded && floor > 0) return above == 0 ? 0 : clip((now - floor) / above);
  return above > 0 ? clip((now - floor) / above) : nan;
}

void add_composites(std::vector<double>& figures, const Rules& rules) {
  const Values v(figures);
  const auto set = [&](const std::string& name, double value) {
    figures[figure_index(name)] = value;
  };
  const double coherence = coherence_of(v);
  const Left left = by_margin(rules) ? left_by_margin(v)
                                     : left_by_accuracy(rules.form, v, rules.unguarded_fraction);
  const auto c = combine(left, coherence);
  set("own_left", left.own);
  set("similar_left", left.similar);
  set("general_left", left.general);
  set("efficacy", c.efficacy);
  set("specificity", c.specificity);
  set("coherence", coherence);
  set("harmonic", c.harmonic);
  set("harmonic_all", c.harmonic_all);
  for (const auto form : {Form::choice, Form::letter, Form::open}) {
    if (std::isnan(v.base(number_of(form, Subset::own, nullptr)))) continue;
    const auto by_form = combine(left_by_accuracy(form, v, rules.unguarded_fraction), coherence);
    const std::string prefix = form_names.at(static_cast<std::size_t>(form));
    set(prefix + "efficacy", by_form.efficacy);
    set(prefix + "specificity", by_form.specificity);
    set(prefix + "harmonic_all", by_form.harmonic_all);
  }
}

void add_composite_counts(std::vector<std::int64_t>& counts, const Rules& rules) {
  const auto of = [&](const std::string& name) -> std::int64_t& {
    return counts[figure_index(name)];
  };
  const auto items = [&](Form form, Subset subset) {
    auto name = number_of(form, subset, nullptr);
    if (of(name) == 0 && form == Form::open && subset == Subset::general) name = "general_accuracy";
    return of(name);
  };
  const auto instructions = of("general_answered");
  of("coherence") = instructions;
  const auto fill = [&](Form form, const std::string& prefix) {
    const auto own = items(form, Subset::own);
    const auto kept = items(form, Subset::similar) + items(form, Subset::general);
    of(prefix + "efficacy") = own;
    of(prefix + "specificity") = kept;
    of(prefix + "harmonic_all") = own + kept + instructions;
  };
  fill(rules.form, "");
  of("own_left") = items(rules.form, Subset::own);
  of("similar_left") = items(rules.form, Subset::similar);
  of("general_left") = items(rules.form, Subset::general);
  of("harmonic") = of("own_left") + of("similar_left") + of("general_left");
  for (const auto form : {Form::choice, Form::letter, Form::open})
    if (items(form, Subset::own) > 0) fill(form, form_names.at(static_cast<std::size_t>(form)));
}

}  // namespace quench::evaluation
