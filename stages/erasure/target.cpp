// The search for a target: the smallest strength that erases as much as is wanted.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "stages/erasure/strategy.hpp"

namespace quench::erasure {

namespace {

// Three significant digits: what people can read and type again.
double rounded(double strength) {
  char digits[32];
  std::snprintf(digits, sizeof digits, "%.3g", strength);
  return std::strtod(digits, nullptr);
}

// The least power of two that is no less.
std::int64_t power_of_two(std::int64_t x) {
  return static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(x)));
}

// Strengths are places on a logarithmic scale from the smallest strength of the list to the
// largest, in n steps of about the tolerance: whole places, so that rounding in the scores decides
// nothing. Efficacy and harm rise with the strength, nearly always; so places below some boundary
// pass the gates and fall short of the target, and those above reach it or fail a gate. The
// boundary is what is searched for: where the target is reached within the gates, its upper side is
// the answer, and where it is not, its lower side is as far as the gates let an edit go. Then the
// choice is the grid's, of what was tried.
//
// The first place is the middle, the second the end on the side that the first leaves open. Then
// all is between two measured places, which interpolate the next one (ITP: Oliveira and Takahashi,
// ACM Trans. Math. Softw. 47(1), 2020): never so far from the middle that the worst case takes more
// than one place beyond bisection. So with w = ceil(n / 2) steps between the middle and an end, a
// monotone curve costs at most 2 + ceil(log2(w)) + 1 cells: 8 for strengths from 0.5 to 50 to 10%.
// Smooth curves take 5.
//
// A curve that is not monotone may reach the target somewhere else. Where the boundary shows no
// answer, wide gaps among the smaller strengths are looked into: 2 more cells where a curve never
// reaches the target. The choice is made of all cells, whatever the brackets were.
class Target : public Strategy {
 public:
  explicit Target(const Options& options)
      : target_(options.target_efficacy),
        low_(std::ranges::min(options.strengths)),
        high_(std::ranges::max(options.strengths)),
        steps_(static_cast<std::int64_t>(
            std::ceil(std::log(high_ / low_) / std::log1p(options.tolerance)))),
        budget_(options.evaluations),
        choice_(options.choice) {}

  std::optional<double> next(const std::vector<Cell>& tried) const override {
    if (std::ssize(tried) >= budget_) return std::nullopt;
    if (tried.empty()) return strength_at(steps_ / 2);
    const auto [below, above] = bracket(tried);
    const auto a = below == nullptr ? -1 : place_of(*below);
    const auto b = above == nullptr ? steps_ + 1 : place_of(*above);
    if (a < 0 && b > 0) return low_;
    if (b > steps_ && a < steps_) return high_;
    if (b - a > 1 && a >= 0)
      return strength_at(interpolated(*below, *above, std::ssize(tried) - 2));
    return reached(tried) == nullptr ? gap(tried, std::min(b, steps_)) : std::nullopt;
  }

  Choice choose(const std::vector<Cell>& tried) const override {
    if (const Cell* cell = reached(tried)) return {cell, "ok"};
    const Cell* instead = balanced_cell(tried, choice_);
    return {instead, instead == nullptr ? status_of_none(tried) : "below_target"};
  }

  std::int64_t most() const override { return std::min(budget_, steps_ + 1); }

 private:
  double strength_at(std::int64_t place) const {
    if (place == 0) return low_;
    if (place == steps_) return high_;
    const double share = static_cast<double>(place) / static_cast<double>(steps_);
    return rounded(low_ * std::pow(high_ / low_, share));
  }
  std::int64_t place_of(const Cell& cell) const {
    if (cell.strength == low_) return 0;
    return std::llround(std::log(cell.strength / low_) / std::log(high_ / low_) *
                        static_cast<double>(steps_));
  }

  // False where efficacy was not measured.
  bool reaches(const Cell& cell) const { return cell.scores.efficacy >= target_; }
  // The smallest strength that reaches the target and may be chosen.
  const Cell* reached(const std::vector<Cell>& tried) const {
    const Cell* smallest = nullptr;
    for (const auto& cell : tried) {
      if (!is_eligible(cell) || !reaches(cell)) continue;
      if (smallest == nullptr || cell.strength < smallest->strength) smallest = &cell;
    }
    return smallest;
  }

  struct Bracket {
    const Cell *below = nullptr, *above = nullptr;
  };
  // The two sides of the lowest boundary.
  Bracket bracket(const std::vector<Cell>& tried) const {
    Bracket sides;
    const auto falls_short = [&](const Cell& cell) { return cell.passed && !reaches(cell); };
    for (const auto& cell : tried) {
      if (falls_short(cell)) continue;
      if (sides.above == nullptr || cell.strength < sides.above->strength) sides.above = &cell;
    }
    for (const auto& cell : tried) {
      if (!falls_short(cell)) continue;
      if (sides.above != nullptr && cell.strength > sides.above->strength) continue;
      if (sides.below == nullptr || cell.strength > sides.below->strength) sides.below = &cell;
    }
    return sides;
  }

  // Steps between the middle and the end that is farther away.
  std::int64_t half_range() const { return steps_ - steps_ / 2; }

  // A place between the two that leaves no more steps than bisection would have left a place ago.
  std::int64_t interpolated(const Cell& below, const Cell& above, std::int64_t bisections) const {
    const auto a = place_of(below), b = place_of(above);
    const auto most = std::max(power_of_two(half_range()) >> std::min<std::int64_t>(bisections, 62),
                               power_of_two(b - a) / 2);
    return std::clamp<std::int64_t>(std::llround(guess(below, above)), std::max(a + 1, b - most),
                                    std::min(b - 1, a + most));
  }

  // Where a line through both efficacies meets the target, moved a little towards the middle so
  // that either side may close in. The middle where the upper side has no efficacy above it.
  double guess(const Cell& below, const Cell& above) const {
    const auto a = static_cast<double>(place_of(below)), b = static_cast<double>(place_of(above));
    const double half = (a + b) / 2;
    const double missing = target_ - below.scores.efficacy,
                 beyond = above.scores.efficacy - target_;
    if (!(missing > 0) || !(beyond >= 0)) return half;
    const double line = (a * beyond + b * missing) / (beyond + missing);
    const double move = 0.2 * (b - a) * (b - a) / static_cast<double>(half_range());
    if (move > std::abs(half - line)) return half;
    return line + std::copysign(move, half - line);
  }

  // The middle of the lowest gap up to a place that is wider than a quarter of all.
  std::optional<double> gap(const std::vector<Cell>& tried, std::int64_t last) const {
    std::vector<std::int64_t> places{0};
    for (const auto& cell : tried) places.push_back(place_of(cell));
    std::ranges::sort(places);
    for (std::size_t i = 1; i < places.size() && places[i] <= last; ++i) {
      const auto width = places[i] - places[i - 1];
      if (width >= 2 && 4 * width > steps_ + 3) return strength_at(places[i - 1] + width / 2);
    }
    return std::nullopt;
  }

  double target_, low_, high_;
  std::int64_t steps_, budget_;
  std::string choice_;
};

}  // namespace

std::unique_ptr<Strategy> make_target(const Options& options) {
  return std::make_unique<Target>(options);
}

}  // namespace quench::erasure
