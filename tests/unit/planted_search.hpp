#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <vector>

#include "stages/erasure/search.hpp"
#include "tests/unit/small_factors.hpp"

namespace quench::erasure::testing {

// A stage of two tokens a concept whose scorer is a function of the strength.
struct Planted {
  Inputs inputs;
  Options options;
  std::vector<double> tried;  // strengths of score_alone

  explicit Planted(const std::function<CellScores(double)>& scores) {
    inputs.concepts = 1;
    inputs.factors = [](std::int64_t) { return small_factors(); };
    inputs.selected = [](std::int64_t) { return Selected{{0, 1}, {5, 9}}; };
    inputs.known = {true};
    inputs.refit = [](std::int64_t) { return small_refit(false); };
    inputs.score_alone = [this, scores](cluster::Communicator&, std::int64_t,
                                        const model::RowDeltas& edit, double strength) {
      EXPECT_EQ(edit.ids, (std::vector<std::int32_t>{5, 9}));
      tried.push_back(strength);
      return scores(strength);
    };
  }
  ConceptResult search() {
    return erasure::search(inputs, options, *cluster::make_self_communicator(), 0);
  }
};

}  // namespace quench::erasure::testing
