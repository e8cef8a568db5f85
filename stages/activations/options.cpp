#include "stages/activations/options.hpp"

#include <charconv>
#include <optional>
#include <set>
#include <string_view>

#include "cluster/error.hpp"
#include "stages/activations/activations.hpp"

namespace quench::activations {

namespace {

std::optional<std::int64_t> number(std::string_view text) {
  std::int64_t value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || stop != text.data() + text.size()) return {};
  return value;
}

}  // namespace

void describe(Options& options, OptionTable& table) {
  table.add("activations.layers", options.layers,
            "layers whose MLP activations are factorised, e.g. 0-8,12 or all; empty: none, the "
            "stage is off");
  table.add("activations.rank", options.rank, "features a layer (K)", {1, 65536});
  table.add("activations.density", options.density, "share of a feature's neurons kept (sigma)",
            {1e-9, 1});
  table.add("activations.ridge", options.ridge,
            "first try of lambda; raised tenfold, up to three times, when a system is singular",
            {1e-300, 1e300});
  describe(options, table, "activations");
  table.add("activations.batch_tokens", options.batch_tokens,
            "tokens of a forward batch, padding included", {1, 1e9});
  table.add("activations.checkpoint", options.checkpoint,
            "seconds between checkpoints inside a factorisation", {0, 1e9});
  table.add("activations.save_g", options.save_g,
            "keep G, positions x rank numbers a concept and layer");
  table.add("activations.seed", options.seed, "seed of the initial coefficients");
}

std::vector<std::int64_t> chosen_layers(const Options& options, std::int64_t model_layers) {
  std::set<std::int64_t> chosen;
  for (const std::string_view text : options.layers) {
    const auto dash = text.find('-');
    auto first = number(text.substr(0, dash));
    auto last = dash == std::string_view::npos ? first : number(text.substr(dash + 1));
    if (text == "all") first = 0, last = model_layers - 1;
    if (!first || !last || *first < 0 || *first > *last || *last >= model_layers)
      throw ConfigError("activations.layers: '" + std::string(text) +
                        "' is not allowed; the model has layers 0 to " +
                        std::to_string(model_layers - 1) + ", allowed: N, N-M or all");
    for (auto layer = *first; layer <= *last; ++layer) chosen.insert(layer);
  }
  return {chosen.begin(), chosen.end()};
}

}  // namespace quench::activations
