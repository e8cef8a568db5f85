#include "pipeline/saved_attacks.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace quench::pipeline {

namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

// Reads own_left at the last point of curves with these columns.
class LastPoint {
 public:
  explicit LastPoint(const std::vector<std::string>& columns)
      : width_(columns.size()),
        place_(static_cast<std::size_t>(std::ranges::find(columns, "own_left") - columns.begin())) {
  }

  // Not a number where the curve has no point.
  Estimate operator()(const std::vector<double>& curve) const {
    if (curve.size() < width_ || place_ + 4 > width_) return {nan, {nan, nan}, 0};
    const double* at = curve.data() + curve.size() - width_ + place_;
    return {at[0], {at[1], at[2]}, static_cast<std::int64_t>(at[3])};
  }

 private:
  std::size_t width_, place_;
};

}  // namespace

SavedAttacks::SavedAttacks(const std::filesystem::path& file, const AttackScorer& scorer)
    : store_(file, "relearning", relearning::schema),
      scorer_(scorer),
      concepts_(store_.read<std::int64_t>("attacks/concept")),
      seeds_(store_.read<std::int64_t>("attacks/seed")),
      erased_(store_.read<std::uint8_t>("attacks/erased")),
      mean_{nan, {nan, nan}, 0} {
  const LastPoint last(store_.read_strings("figures"));
  const auto concepts = store_.read<std::int64_t>("over_seeds/concept");
  const auto seeds = store_.read<std::int64_t>("over_seeds/seeds");
  const auto erased = store_.read<std::uint8_t>("over_seeds/erased");
  const auto figures = store_.read_ragged<double>("over_seeds/figures");
  for (std::size_t i = 0; i < concepts.size(); ++i) {
    const auto left = last(figures[i]);
    if (erased[i] != 0 && !std::isnan(left.value)) back_[concepts[i]] = {left, seeds[i]};
  }
  const auto starts = store_.read<std::uint8_t>("mean/erased");
  const auto means = store_.read_ragged<double>("mean/figures");
  for (std::size_t i = 0; i < starts.size(); ++i)
    if (starts[i] != 0) mean_ = last(means[i]);
}

evaluation::SeededSample SavedAttacks::sample(std::int64_t concept_index,
                                              const std::string& purpose) const {
  relearning::SeedsSaid said{concept_index, {}, {}};
  for (std::size_t a = 0; a < concepts_.size(); ++a) {
    if (concepts_[a] != concept_index || erased_[a] == 0) continue;
    const auto row = static_cast<std::int64_t>(a);
    const auto steps = store_.read_ragged<std::int64_t>("curves/steps", {row, row + 1}).front();
    if (steps.empty()) continue;  // it failed
    const auto counts = store_.read_ragged<std::int64_t>("curves/counts", {row, row + 1}).front();
    const auto values = store_.read_ragged<float>("curves/values", {row, row + 1}).front();
    said.seeds.push_back(seeds_[a]);
    said.by_seed.push_back(relearning::said_of(counts, values, std::ssize(steps)).back());
  }
  return scorer_.sample(said, purpose);
}

}  // namespace quench::pipeline
