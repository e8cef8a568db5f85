#include "stages/report/attacks.hpp"

#include <cstdint>
#include <span>

#include "stages/report/values.hpp"

namespace quench::report {

using nlohmann::json;

json attacks_of(const cluster::StoreReader& store) {
  const auto columns = store.read_strings("figures");
  const auto concepts = store.read<std::int64_t>("attacks/concept");
  const auto seeds = store.read<std::int64_t>("attacks/seed");
  const auto erased = store.read<std::uint8_t>("attacks/erased");
  const auto steps = store.read_ragged<std::int64_t>("curves/steps");
  const auto losses = store.read_ragged<double>("curves/loss");
  const auto values = store.read_ragged<double>("curves/figures");
  json attacks = json::array();
  for (std::size_t a = 0; a < concepts.size(); ++a) {
    json points = json::array();
    for (std::size_t p = 0; p < steps[a].size(); ++p) {
      auto point =
          figures(columns, std::span(values[a]).subspan(p * columns.size(), columns.size()));
      point["step"] = steps[a][p];
      point["loss"] = number(losses[a][p]);
      points.push_back(std::move(point));
    }
    attacks.push_back({{"concept", concepts[a]},
                       {"seed", seeds[a]},
                       {"erased", erased[a] != 0},
                       {"points", points}});
  }
  return attacks;
}

}  // namespace quench::report
