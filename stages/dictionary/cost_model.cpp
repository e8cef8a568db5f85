#include "stages/dictionary/cost_model.hpp"

#include <algorithm>
#include <cmath>

namespace quench::dictionary {

namespace {

// Share of the entries of A^T F~ that the bounded form computes, over a whole fit
// (docs/scaling.md).
constexpr double bounded_share = 0.25;
// Its n x K numbers must stay small beside the rows.
constexpr double most_kept_numbers = double(std::int64_t{1} << 26);

}  // namespace

Cost predict(const FitShape& shape, Form form, const Machine& machine) {
  const auto d = static_cast<double>(shape.width), k = static_cast<double>(shape.rank);
  const auto m = static_cast<double>(shape.kept);
  const double rows = static_cast<double>(shape.rows) / shape.ranks;
  const double entries = m * k / shape.ranks;
  const bool bounded = form == Form::bounded;
  const double dense = 2 * d * rows * k * (bounded ? bounded_share : 1);
  const double sparse = 2 * entries * d + 2 * entries * (entries / rows);
  const double small = std::min(d, k);
  const double systems =
      k * k * k / 3 + 4 * k * k * d + small * small * small / 3 + 2 * k * d * small;
  Cost out;
  out.flops = dense + sparse + systems;
  out.bytes = 2 * rows * d * 2 + (bounded ? 4 * rows * k : 8 * rows * k);
  // The sums and two flags; four histograms of a column; candidates and ties of a column, counted.
  const double payload = 8 * (k * d + k * k + 2) + 4 * 4 * 256 * k + 2 * 8 * k;
  const double share = static_cast<double>(shape.ranks - 1) / shape.ranks;
  out.bytes_sent = 2 * share * payload;  // ring or reduce-scatter and all-gather
  out.seconds = dense / machine.product_rate + sparse / (machine.product_rate / 8) +
                systems / machine.system_rate + out.bytes / machine.memory_rate;
  if (shape.ranks > 1)
    out.seconds += out.bytes_sent / machine.network_rate +
                   6 * 2 * std::ceil(std::log2(shape.ranks)) * machine.latency;
  out.resident_bytes = rows * d * 4 + 8 * (3 * k * d + 2 * k * k) + 24 * entries +
                       (bounded ? 4 * rows * k : 4.0 * (1 << 23));
  return out;
}

Form choose_form(const FitShape& shape, const std::string& wanted, const Machine& machine) {
  if (wanted != "auto") return wanted == "bounded" ? Form::bounded : Form::streamed;
  const double numbers =
      static_cast<double>(shape.rows) / shape.ranks * static_cast<double>(shape.rank);
  if (numbers > most_kept_numbers) return Form::streamed;
  return predict(shape, Form::bounded, machine).seconds <
                 predict(shape, Form::streamed, machine).seconds
             ? Form::bounded
             : Form::streamed;
}

}  // namespace quench::dictionary
