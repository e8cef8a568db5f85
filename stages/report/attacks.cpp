#include "stages/report/attacks.hpp"

#include <cstdint>
#include <span>

#include "stages/report/values.hpp"

namespace quench::report {

using nlohmann::json;

namespace {

// The points of the curves of a group.
std::vector<json> points_of(const cluster::StoreReader& store, const std::string& group) {
  const auto columns = store.read_strings("figures");
  const auto steps = store.read_ragged<std::int64_t>(group + "/steps");
  const auto values = store.read_ragged<double>(group + "/figures");
  std::vector<json> curves;
  for (std::size_t row = 0; row < steps.size(); ++row) {
    auto& points = curves.emplace_back(json::array());
    for (std::size_t p = 0; p < steps[row].size(); ++p) {
      points.push_back(
          figures(columns, std::span(values[row]).subspan(p * columns.size(), columns.size())));
      points.back()["step"] = steps[row][p];
    }
  }
  return curves;
}

// Every attack by itself.
json attacks_of(const cluster::StoreReader& store) {
  const auto concepts = store.read<std::int64_t>("attacks/concept");
  const auto seeds = store.read<std::int64_t>("attacks/seed");
  const auto erased = store.read<std::uint8_t>("attacks/erased");
  const auto losses = store.read_ragged<double>("curves/loss");
  auto curves = points_of(store, "curves");
  json attacks = json::array();
  for (std::size_t a = 0; a < concepts.size(); ++a) {
    for (std::size_t p = 0; p < curves[a].size(); ++p) curves[a][p]["loss"] = number(losses[a][p]);
    attacks.push_back({{"concept", concepts[a]},
                       {"seed", seeds[a]},
                       {"erased", erased[a] != 0},
                       {"points", std::move(curves[a])}});
  }
  return attacks;
}

const char* start_of(std::uint8_t erased) { return erased != 0 ? "erased" : "untouched"; }

}  // namespace

void add_attacks(const cluster::StoreReader& store, json& document) {
  document["attacks"] = attacks_of(store);
  const auto concepts = store.read<std::int64_t>("over_seeds/concept");
  const auto seeds = store.read<std::int64_t>("over_seeds/seeds");
  const auto erased = store.read<std::uint8_t>("over_seeds/erased");
  auto curves = points_of(store, "over_seeds");
  for (std::size_t i = 0; i < concepts.size(); ++i)
    document["concepts"][static_cast<std::size_t>(concepts[i])]["relearning"][start_of(erased[i])] =
        {{"seeds", seeds[i]}, {"points", std::move(curves[i])}};
  const auto asked = static_cast<std::int64_t>(store.number_attribute("/", "seeds"));
  const auto starts = store.read<std::uint8_t>("mean/erased");
  auto means = points_of(store, "mean");
  for (std::size_t i = 0; i < starts.size(); ++i)
    document["relearning"][start_of(starts[i])] = {{"seeds", asked},
                                                   {"points", std::move(means[i])}};
}

}  // namespace quench::report
