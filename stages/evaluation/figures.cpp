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

// An answer that has become empty is lost to both parts.
CoherenceParts parts_of(const Values& v) {
  const double base_answered = v.base("general_answered");
  if (!(base_answered > 0)) return {nan, nan};
  const double answered = clip(v.now("general_answered") / base_answered);
  const double worse = v.base("general_answer_perplexity") / v.now("general_answer_perplexity");
  const double fluency = std::isnan(worse) ? 0 : answered * clip(worse);
  const double base_varied = 1 - v.base("general_repetition");
  const double varied =
      base_varied > 0 ? clip((1 - v.now("general_repetition")) / base_varied) : nan;
  return {fluency, varied};
}

// Of a judge's ratings (methods 7.4), or of what is measured without one. NaN: not measured.
double coherence_of(const Rules& rules, const Values& v) {
  if (!rules.judged) {
    const auto parts = parts_of(v);
    if (std::isnan(parts.fluency) || std::isnan(parts.variety)) return parts.fluency;
    return harmonic_mean(std::array{parts.fluency, parts.variety});
  }
  const auto left = [&](const std::string& name) {
    return fraction_left(v.now(name), v.base(name), 0);
  };
  const double fluency = left("general_fluency"), relatedness = left("general_relatedness");
  if (std::isnan(fluency) || std::isnan(relatedness)) return nan;
  return harmonic_mean(std::array{fluency, relatedness});
}

// The number that stands for a subset in a form of questions.
std::string number_of(Form form, Subset subset, const Values* v) {
  const auto prefix = subset_names.at(static_cast<std::size_t>(subset));
  if (form == Form::open && subset == Subset::general) {
    const bool lettered = v == nullptr || !std::isnan(v->base("general_letter_accuracy"));
    return std::string(prefix) + (lettered ? "letter_accuracy" : "accuracy");
  }
  return prefix + accuracy_name(form);
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

bool by_margin(const Rules& rules) {
  return rules.objective == Objective::margin && rules.form == Form::choice;
}

// What is left by the rules that decide.
Left deciding_left(const Rules& rules, const Values& v) {
  return by_margin(rules) ? left_by_margin(v)
                          : left_by_accuracy(rules.form, v, rules.unguarded_fraction);
}

constexpr std::array all_forms = {Form::choice, Form::letter, Form::open};

// Where a form stands in MeasuredParts::left, behind the rules that decide.
std::size_t place_of(Form form) { return 1 + static_cast<std::size_t>(form); }

// A part of a figure that is made of several, and whether it is one at all.
struct Part {
  double value;
  bool counts;
};

// The harmonic mean of the parts that count; NaN where one of them is, or where there are none.
Part mean_of(std::initializer_list<Part> parts) {
  std::vector<double> values;
  for (const auto& part : parts)
    if (part.counts) values.push_back(part.value);
  const bool is_measured = std::ranges::none_of(values, [](double x) { return std::isnan(x); });
  if (values.empty() || !is_measured) return {nan, !values.empty()};
  return {harmonic_mean(values), true};
}

struct Composites {
  double efficacy, specificity, harmonic, harmonic_all;
};

// `measured` says which of own, similar and general count. Without the own questions no harmonic
// mean says whether a strength erases the concept: NaN.
Composites combine(const Left& left, double coherence, const std::array<bool, 3>& measured,
                   bool with_coherence) {
  const Part efficacy{1 - left.own, true};
  const auto specificity = mean_of({{left.similar, measured[1]}, {left.general, measured[2]}});
  return {efficacy.value, specificity.value, mean_of({efficacy, specificity}).value,
          mean_of({efficacy, specificity, {coherence, with_coherence}}).value};
}

// As the reference does: 0 where a part cannot be computed.
Composites combine_unguarded(const Left& left, double coherence) {
  const double efficacy = 1 - left.own;
  const double specificity = harmonic_mean(std::array{left.similar, left.general});
  const double harmonic = harmonic_mean(std::array{efficacy, specificity});
  return {efficacy, specificity, harmonic,
          std::isnan(coherence) ? harmonic
                                : harmonic_mean(std::array{efficacy, specificity, coherence})};
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

std::string accuracy_name(Form form) { return accuracy_names.at(static_cast<std::size_t>(form)); }

CoherenceParts coherence_parts(const std::vector<double>& figures) {
  return parts_of(Values(figures));
}

MeasuredParts measured_parts(const std::vector<double>& figures, const Rules& rules) {
  const Values v(figures);
  MeasuredParts parts;
  const auto is_number = [](const Left& left) {
    return std::array{!std::isnan(left.own), !std::isnan(left.similar), !std::isnan(left.general)};
  };
  parts.left[0] = is_number(deciding_left(rules, v));
  for (const auto form : all_forms)
    parts.left.at(place_of(form)) = is_number(left_by_accuracy(form, v, rules.unguarded_fraction));
  parts.coherence = !std::isnan(coherence_of(rules, v));
  return parts;
}

void add_composites(std::vector<double>& figures, const Rules& rules, const MeasuredParts& parts) {
  const Values v(figures);
  const auto set = [&](const std::string& name, double value) {
    figures[figure_index(name)] = value;
  };
  const double coherence = coherence_of(rules, v);
  const auto composites = [&](const Left& left, std::size_t place) {
    return rules.unguarded_fraction
               ? combine_unguarded(left, coherence)
               : combine(left, coherence, parts.left.at(place), parts.coherence);
  };
  const Left left = deciding_left(rules, v);
  const auto c = composites(left, 0);
  set("own_left", left.own);
  set("similar_left", left.similar);
  set("general_left", left.general);
  set("efficacy", c.efficacy);
  set("specificity", c.specificity);
  set("coherence", coherence);
  set("harmonic", c.harmonic);
  set("harmonic_all", c.harmonic_all);
  for (const auto form : all_forms) {
    if (std::isnan(v.base(number_of(form, Subset::own, nullptr)))) continue;
    const auto by_form =
        composites(left_by_accuracy(form, v, rules.unguarded_fraction), place_of(form));
    const std::string prefix = form_names.at(static_cast<std::size_t>(form));
    set(prefix + "efficacy", by_form.efficacy);
    set(prefix + "specificity", by_form.specificity);
    set(prefix + "harmonic_all", by_form.harmonic_all);
  }
}

void add_composite_counts(std::vector<std::int64_t>& counts, const Rules& rules,
                          const MeasuredParts& parts) {
  const auto of = [&](const std::string& name) -> std::int64_t& {
    return counts[figure_index(name)];
  };
  const auto items = [&](Form form, Subset subset) {
    auto name = number_of(form, subset, nullptr);
    if (of(name) == 0 && form == Form::open && subset == Subset::general) name = "general_accuracy";
    return of(name);
  };
  const auto instructions = of(rules.judged ? "general_fluency" : "general_answered");
  of("coherence") = instructions;
  const auto kept_by = [&](Form form, std::size_t place) {
    const auto& measured = parts.left.at(place);
    const bool all = rules.unguarded_fraction;
    return (all || measured[1] ? items(form, Subset::similar) : 0) +
           (all || measured[2] ? items(form, Subset::general) : 0);
  };
  const auto fill = [&](Form form, std::size_t place, const std::string& prefix) {
    const auto own = items(form, Subset::own);
    const auto kept = kept_by(form, place);
    of(prefix + "efficacy") = own;
    of(prefix + "specificity") = kept;
    of(prefix + "harmonic_all") =
        own + kept + (rules.unguarded_fraction || parts.coherence ? instructions : 0);
  };
  fill(rules.form, 0, "");
  of("own_left") = items(rules.form, Subset::own);
  of("similar_left") = items(rules.form, Subset::similar);
  of("general_left") = items(rules.form, Subset::general);
  of("harmonic") = of("own_left") + kept_by(rules.form, 0);
  for (const auto form : all_forms)
    if (items(form, Subset::own) > 0)
      fill(form, place_of(form), form_names.at(static_cast<std::size_t>(form)));
}

}  // namespace quench::evaluation
