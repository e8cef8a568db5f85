#include "stages/dictionary/cost_model.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "cluster/error.hpp"

namespace quench::dictionary {

namespace {

// Share of the entries of A^T F~ that the bounded form computes, over a fit of usual length
// (docs/scaling.md).
constexpr double bounded_share = 0.35;
// Its n x K numbers must stay small beside the rows, and so must C.
constexpr double most_kept_numbers = double(std::int64_t{1} << 26);
constexpr std::int64_t most_gram_rows = 16384;

constexpr std::array<const char*, 5> names{"bounded", "streamed", "gram", "batched", "device"};

// A fit's shape as the formulas have it, of one rank.
struct Sizes {
  double d, k, m, rows, entries;
  explicit Sizes(const FitShape& shape)
      : d(static_cast<double>(shape.width)),
        k(static_cast<double>(shape.rank)),
        m(static_cast<double>(shape.kept)),
        rows(static_cast<double>(shape.rows) / shape.ranks),
        entries(m * k / shape.ranks) {}
  // Rows that have an entry at all, when entries fall anywhere.
  double visited() const { return rows * (1 - std::exp(-entries / rows)); }
};

Cost predict_gram(const FitShape& shape, const Machine& machine) {
  const Sizes s(shape);
  const double product_rate = machine.product_rate * shape.product_speed;
  const double sparse = 2 * s.entries * s.rows;
  const double dense = 2 * s.rows * s.k * s.k;
  const double systems = 12 * s.k * s.k * s.k;
  Cost out;
  out.flops = sparse + dense + systems;
  out.bytes = 4 * s.visited() * s.rows + 12 * s.rows * s.k;
  out.seconds = std::max(sparse / machine.product_rate * 2, out.bytes / machine.memory_rate) +
                dense / machine.product_rate + systems / machine.system_rate + 30 * machine.call;
  out.start_seconds = s.rows * s.rows * s.d / product_rate +
                      4 * s.d * s.rows * s.k / machine.product_rate +
                      8 * s.rows * s.rows / machine.visit_rate;
  // The rows, and the copy that C is made of.
  const double row_bytes = shape.product_speed > 1 ? 4 : 8;
  out.resident_bytes = row_bytes * s.rows * s.d + 4 * s.rows * s.rows + 28 * s.rows * s.k +
                       8 * (6 * s.k * s.k + 5 * s.d * s.k) + 40 * s.entries;
  return out;
}

Cost predict_direct(const FitShape& shape, bool bounded, const Machine& machine) {
  const Sizes s(shape);
  const double rate = machine.product_rate * shape.product_speed;
  const double dense = 2 * s.d * s.rows * s.k * (bounded ? bounded_share : 1);
  const double sparse = 4 * s.entries * s.d + 2 * s.entries * (s.entries / s.rows);
  // F over the ranks' slices; F~ and the smaller of F^T F and F F^T by every rank.
  const double small = std::min(s.d, s.k);
  const double systems = s.k * s.k * s.k / 3 + (s.d < s.k ? 4 : 2) * s.k * s.k * s.d / shape.ranks +
                         small * small * small + 4 * s.k * s.d * small;
  Cost out;
  out.flops = dense + sparse + systems;
  const double streamed_bytes = 2 * s.rows * s.d + (bounded ? 8 : 16) * s.rows * s.k;
  const double visited_bytes = 4 * s.entries * s.d;
  out.bytes = streamed_bytes + visited_bytes;
  // The sums, two flags and two parts of the objective; four histograms, a guess, and the
  // candidates and ties, counted, of a column.
  const double payload = 8 * (s.k * s.d + s.k * s.k + 3) + 4 * 4 * 256 * s.k + (4 + 2 * 8) * s.k;
  const double share = static_cast<double>(shape.ranks - 1) / shape.ranks;
  out.bytes_sent = 2 * share * payload;  // ring, or reduce-scatter and all-gather
  out.seconds = dense / rate + streamed_bytes / machine.memory_rate +
                visited_bytes / machine.visit_rate + systems / machine.system_rate +
                30 * machine.call;
  if (shape.ranks > 1)
    out.seconds += out.bytes_sent / machine.network_rate +
                   9 * 2 * std::ceil(std::log2(shape.ranks)) * machine.latency;
  out.start_seconds = 2 * s.rows * s.k * (s.d + s.k) / machine.product_rate;
  // Rows of bfloat16 may have a copy in the order of the product; others are float32.
  out.resident_bytes = 4 * s.rows * s.d + 8 * (14 * s.k * s.d + 5 * s.k * s.k) + 40 * s.entries +
                       (bounded ? 16 * s.rows * s.k : 4.0 * (1 << 23));  // values twice, places
  return out;
}

// A in both precisions, half of it again while a batch is narrowed; some ten of G and of F.
double batched_bytes(const Sizes& s) {
  return 4 * (5 * s.rows * s.d + 12 * s.k * s.rows + 20 * s.k * s.d + 20 * s.k * s.k);
}

// The rows; six Gs, one of them with its keys; sums and systems; blocks of columns and of rows.
double device_bytes(const Sizes& s) {
  const double small = std::min(s.d, s.k);
  return 4 * s.rows * s.d + 106 * s.k * std::min(s.m, s.rows) +
         8 * (8 * s.k * (s.d + s.k) + 6 * (small * small + s.k * s.k)) + 4.0 * device_block_bytes;
}

// ATen's operations on rows of float32 and sums of float64 (device_alternation.cpp,
// device_batch.cpp). A batch makes A G and G^T G as dense products, the other one from the entries.
Cost predict_on_device(const FitShape& shape, bool batched, const Machine& machine) {
  constexpr double steps = 100;       // kernels of an iteration
  constexpr double jobs = 16;         // of a batch, which share their starts
  constexpr double search = 80;       // bytes of making, ordering and comparing one number
  constexpr double entry_bytes = 24;  // of a row's number: read, made float64, read again
  const Sizes s(shape);
  const double numbers = s.rows * s.k;
  const double entries = batched ? 0 : s.k * std::min(s.m, s.rows);  // a rank's, won or not
  const double small = std::min(s.d, s.k);
  const double dense = 2 * s.d * numbers;
  const double exact = (batched ? 2 * s.d * numbers : 2 * s.d * entries) + 2 * numbers * s.k +
                       6 * s.d * s.k * small + 2 * s.k * s.k * s.d + s.k * s.k * s.k +
                       small * small * small;
  Cost out;
  out.flops = dense + exact;
  const double picked = entry_bytes * entries * s.d;
  const double streamed =
      4 * s.rows * s.d + search * numbers + (batched ? 8 * s.rows * s.d : 24 * numbers);
  out.bytes = streamed + picked;
  out.seconds = dense / machine.product_rate + exact / machine.system_rate +
                streamed / machine.memory_rate + picked / machine.visit_rate +
                steps * machine.call / (batched ? jobs : 1);
  if (shape.ranks > 1) {
    // The sums and three flags; counts of 7, then fifteen times 15 tries of a column (the m-th key
    // of all ranks, four bits a round). What rank 0 tells at the end is not counted.
    constexpr double rounds = 16;
    const double payload = 8 * (s.k * s.d + s.k * s.k + 3) + 8 * (7 + 15 * 15) * s.k;
    out.bytes_sent = 2 * static_cast<double>(shape.ranks - 1) / shape.ranks * payload;
    out.seconds += out.bytes_sent / machine.network_rate +
                   (rounds + 2) * 2 * std::ceil(std::log2(shape.ranks)) * machine.latency;
  }
  out.start_seconds = 2 * numbers * (s.d + s.k) / machine.system_rate;
  out.resident_bytes = batched ? batched_bytes(s) : device_bytes(s);
  return out;
}

// C on one rank; enough rows that its rounding averages out; and F^T F must not be singular by its
// shape.
bool gram_fits(const FitShape& shape) {
  constexpr std::int64_t fewest_rows = 1024;
  return shape.ranks == 1 && shape.rows >= fewest_rows && shape.rows <= most_gram_rows &&
         shape.rank <= shape.width && 2 * shape.rank <= shape.rows;
}

}  // namespace

std::string name_of(Form form) { return names.at(static_cast<std::size_t>(form)); }

Form form_named(const std::string& name) {
  const auto found = std::ranges::find(names, name);
  if (found == names.end()) throw InternalError("no form of the factorisation is named " + name);
  return static_cast<Form>(found - names.begin());
}

Cost predict(const FitShape& shape, Form form, const Machine& machine) {
  auto out = form == Form::gram      ? predict_gram(shape, machine)
             : form == Form::batched ? predict_on_device(shape, true, machine)
             : form == Form::device  ? predict_on_device(shape, false, machine)
                                     : predict_direct(shape, form == Form::bounded, machine);
  // G of now and the best one: as they are, in the record made of them, and as the file's bytes.
  constexpr double copies = 3, entry_bytes = 8;
  out.gathered_bytes = 2 * copies * entry_bytes * static_cast<double>(shape.kept * shape.rank);
  return out;
}

Form choose_form(const FitShape& shape, const std::string& wanted, const Machine& machine) {
  const bool gram = gram_fits(shape);
  if (wanted != "auto" && (wanted != "gram" || gram)) return form_named(wanted);
  const double numbers =
      static_cast<double>(shape.rows) / shape.ranks * static_cast<double>(shape.rank);
  const auto seconds = [&](Form form) {
    return predict(shape, form, machine).fit_seconds(shape.iterations);
  };
  auto best = Form::streamed;
  if (numbers <= most_kept_numbers && seconds(Form::bounded) < seconds(best)) best = Form::bounded;
  if (gram && seconds(Form::gram) < seconds(best)) best = Form::gram;
  return best;
}

}  // namespace quench::dictionary
