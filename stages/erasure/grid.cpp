// The grid: every strength of the list, then a choice.
#include <algorithm>

#include "stages/erasure/strategy.hpp"

namespace quench::erasure {

namespace {

class Grid : public Strategy {
 public:
  explicit Grid(const Options& options)
      : strengths_(options.strengths), min_general_(options.min_general), choice_(options.choice) {
    std::ranges::sort(strengths_);
  }

  // In ascending order; ends early when the general questions fail their gate at two strengths in a
  // row, since a stronger edit of the same rows only does more harm. Not where the highest is
  // wanted, as the paper takes it: of all of them.
  std::optional<double> next(const std::vector<Cell>& tried) const override {
    if (tried.size() >= strengths_.size()) return std::nullopt;
    const auto is_too_strong = [&](const Cell& cell) {
      return cell.scores.general_left < min_general_;
    };
    if (choice_ != "best" && tried.size() >= 2 &&
        std::all_of(tried.end() - 2, tried.end(), is_too_strong))
      return std::nullopt;
    return strengths_[tried.size()];
  }

  Choice choose(const std::vector<Cell>& tried) const override {
    const Cell* chosen = balanced_cell(tried, choice_);
    return {chosen, chosen == nullptr ? status_of_none(tried) : "ok"};
  }

  std::int64_t most() const override { return std::ssize(strengths_); }

 private:
  std::vector<double> strengths_;
  double min_general_;
  std::string choice_;
};

}  // namespace

std::unique_ptr<Strategy> make_grid(const Options& options) {
  return std::make_unique<Grid>(options);
}

}  // namespace quench::erasure
