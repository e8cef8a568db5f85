#include "stages/evaluation/curve.hpp"

#include <algorithm>

#include "cluster/collectives.hpp"
#include "cluster/random.hpp"
#include "stages/evaluation/concept_mean.hpp"

namespace quench::evaluation {

namespace {

// A task: the joint edit of the first `erased` concepts, on the questions of one of them (its place
// in the order) or on the general ones (-1).
struct Cell {
  std::int64_t erased = 0, place = -1;
};

std::vector<Measurement> picked(const std::vector<Measurement>& all, const Bank& part) {
  std::vector<Measurement> some;
  for (const auto i : part.places) some.push_back(all[static_cast<std::size_t>(i)]);
  return some;
}

class CurveRun {
 public:
  CurveRun(const Inputs& inputs, const Options& options, cluster::Context& context,
           const std::vector<Piece>& pieces, Banks& banks, const SaidBefore& before)
      : inputs_(inputs),
        rules_(rules_of(options)),
        resamples_(options.resamples),
        context_(context),
        pieces_(pieces),
        banks_(banks),
        before_(before) {
    curve_.order = curve_order(inputs);
    curve_.erased = curve_points(std::ssize(curve_.order));
  }

  Curve travel() {
    if (curve_.order.empty()) return curve_;
    shared_ = only(rules_.form, banks_.shared());
    const auto last = std::ssize(curve_.order);
    for (const auto erased : curve_.erased) {
      if (erased == last) continue;
      for (std::int64_t place = -1; place < erased; ++place) cells_.push_back({erased, place});
    }
    const auto results = measure();
    curve_.failures = results.failures();
    std::int64_t first = 0;
    for (const auto erased : curve_.erased) {
      const auto begin = first;
      const auto of_point = [&](std::int64_t place) {
        return erased == last ? of_joint(place) : of_cell(results, begin + 1 + place, place);
      };
      Said shared;
      cluster::agree(context_.world(), [&] { shared = of_point(-1); });
      curve_.means.push_back(
          mean_of(erased, [&](std::int64_t place) { return both(of_point(place), shared); }));
      if (before_.alone)
        curve_.alone.push_back(
            mean_of(erased, [&](std::int64_t place) { return of_alone(place); }));
      first += erased == last ? 0 : erased + 1;
    }
    return curve_;
  }

 private:
  // To a concept's own questions and to the shared ones.
  struct Answers {
    std::vector<Measurement> own, shared;
  };
  static std::optional<Answers> both(Said own, const Said& shared) {
    if (!own || !shared) return std::nullopt;
    return Answers{std::move(*own), *shared};
  }

  const Piece& piece_of(std::int64_t place) const {
    return pieces_[static_cast<std::size_t>(curve_.order[static_cast<std::size_t>(place)])];
  }
  Bank bank_of(std::int64_t place) {
    return place < 0 ? shared_ : only(rules_.form, banks_.of(piece_of(place)));
  }

  cluster::TaskResults measure() {
    std::vector<cluster::Task> tasks;
    for (const auto& cell : cells_) {
      // Like sizes stand together, so that a rank seldom makes another model.
      const double cost = static_cast<double>(cell.place < 0 ? shared_.probes.size() : 40) +
                          1e-6 * static_cast<double>(cell.erased);
      tasks.push_back({key_of({"curve", inputs_.inputs_hash, std::to_string(cell.erased),
                               std::to_string(cell.place)}),
                       cost});
    }
    std::optional<model::Transformer> model;
    std::int64_t made = 0;
    return cluster::run_tasks(
        context_, "evaluation", tasks, [&](std::int64_t i, cluster::Communicator& group) {
          const auto& cell = cells_[static_cast<std::size_t>(i)];
          if (made != cell.erased) {
            const auto members =
                std::span(curve_.order).first(static_cast<std::size_t>(cell.erased));
            model.emplace(inputs_.some(members));
            made = cell.erased;
          }
          const auto bank = bank_of(cell.place);
          return pack_new(inputs_.meter->measure(group, *model, bank.probes, bank.base));
        });
  }

  Said of_cell(const cluster::TaskResults& results, std::int64_t task, std::int64_t place) {
    if (!results.failure(task).empty()) return std::nullopt;
    return unpack_new(results.read(task), bank_of(place).base);
  }

  // place -1: the general questions, piece by piece.
  Said of_joint(std::int64_t place) {
    if (place >= 0) {
      const auto index = curve_.order[static_cast<std::size_t>(place)];
      const auto all = before_.joint(index);
      if (!all) return std::nullopt;
      return picked(*all, bank_of(place));
    }
    std::vector<Measurement> all;
    for (auto p = inputs_.probes.concepts; p < std::ssize(pieces_); ++p) {
      const auto part = before_.joint(p);
      if (!part) return std::nullopt;
      all.insert(all.end(), part->begin(), part->end());
    }
    return picked(all, shared_);
  }

  std::optional<Answers> of_alone(std::int64_t place) {
    const auto index = curve_.order[static_cast<std::size_t>(place)];
    const auto all = before_.alone(index);
    if (!all) return std::nullopt;
    const auto of_own = std::ssize(banks_.of(pieces_[static_cast<std::size_t>(index)]).probes);
    const std::vector<Measurement> own(all->begin(), all->begin() + of_own);
    const std::vector<Measurement> shared(all->begin() + of_own, all->end());
    return Answers{picked(own, bank_of(place)), picked(shared, shared_)};
  }

  // Over the first `erased` concepts, each rank for its share. Collective.
  Scores mean_of(std::int64_t erased,
                 const std::function<std::optional<Answers>(std::int64_t)>& said) {
    auto& world = context_.world();
    ConceptMean mean(erased, resamples_, "curve");
    cluster::agree(world, [&] {
      const auto mine = cluster::rows_of(erased, world.size(), world.rank());
      for (auto place = mine.begin; place < mine.end; ++place) {
        const auto now = said(place);
        if (!now) continue;
        const auto c = curve_.order[static_cast<std::size_t>(place)];
        const auto sample = sample_of(bank_of(place), now->own, shared_, now->shared, rules_,
                                      "curve/" + inputs_.probes.hash(c));
        mean.add(place, sample, sample.scores(0));
      }
    });
    return mean.finish(world);
  }

  const Inputs& inputs_;
  Rules rules_;
  std::int64_t resamples_;
  cluster::Context& context_;
  const std::vector<Piece>& pieces_;
  Banks& banks_;
  const SaidBefore& before_;
  Bank shared_;
  std::vector<Cell> cells_;
  Curve curve_;
};

}  // namespace

std::vector<std::int64_t> curve_order(const Inputs& inputs) {
  std::vector<std::int64_t> edited;
  for (std::int64_t c = 0; c < std::ssize(inputs.edited); ++c)
    if (inputs.edited[static_cast<std::size_t>(c)]) edited.push_back(c);
  std::ranges::sort(edited, {}, inputs.probes.hash);
  const auto places = cluster::KeyedRandom(0, "evaluation.curve").permutation(std::ssize(edited));
  std::vector<std::int64_t> order;
  for (const auto place : places) order.push_back(edited[static_cast<std::size_t>(place)]);
  return order;
}

std::vector<std::int64_t> curve_points(std::int64_t concepts) {
  std::vector<std::int64_t> points;
  for (std::int64_t n = 1; n < concepts; n *= 2) points.push_back(n);
  if (concepts > 0) points.push_back(concepts);
  return points;
}

Curve measure_curve(const Inputs& inputs, const Options& options, cluster::Context& context,
                    const std::vector<Piece>& pieces, Banks& banks, const SaidBefore& before) {
  return CurveRun(inputs, options, context, pieces, banks, before).travel();
}

}  // namespace quench::evaluation
