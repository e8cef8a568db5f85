#include "stages/evaluation/results.hpp"

#include <algorithm>

namespace quench::evaluation {

void Bank::add(std::span<const Probe> more, std::span<const Measurement> said) {
  for (std::size_t i = 0; i < more.size(); ++i) {
    if (more[i].split != Split::test) continue;
    probes.push_back(more[i]);
    base.push_back(said[i]);
    places.push_back(static_cast<std::int64_t>(i));
  }
}

std::vector<Pair> Bank::pairs(std::span<const Measurement> now) const {
  std::vector<Pair> pairs(probes.size());
  for (std::size_t i = 0; i < probes.size(); ++i) pairs[i] = {&probes[i], &base[i], &now[i]};
  return pairs;
}

Bank Banks::of(const Piece& piece) {
  Bank bank;
  bank.add(reader_.probes(piece), baseline_.read(piece.ids));
  return bank;
}

const Bank& Banks::shared() {
  if (!shared_) {
    shared_.emplace();
    const cluster::Range ids{source_.offsets[source_.concepts], source_.offsets.back()};
    shared_->add(reader_.shared(), baseline_.read(ids));
  }
  return *shared_;
}

Bank only(Form form, const Bank& bank) {
  Bank part;
  for (std::size_t i = 0; i < bank.probes.size(); ++i) {
    if (!is_of_form(form, bank.probes[i])) continue;
    part.probes.push_back(bank.probes[i]);
    part.base.push_back(bank.base[i]);
    part.places.push_back(static_cast<std::int64_t>(i));
  }
  return part;
}

std::string pack_new(std::span<const Measurement> measured) {
  std::vector<Measurement> thin(measured.begin(), measured.end());
  for (auto& m : thin)
    if (m.reused) m = {{}, {}, true};
  return pack(thin);
}

std::vector<Measurement> unpack_new(const std::string& bytes, std::span<const Measurement> base) {
  auto measured = unpack(bytes);
  for (std::size_t i = 0; i < measured.size(); ++i) {
    if (!measured[i].reused) continue;
    measured[i] = base[i];
    measured[i].reused = true;
  }
  return measured;
}

Sample sample_of(const Bank& own, std::span<const Measurement> own_now, const Bank& shared,
                 std::span<const Measurement> shared_now, const Rules& rules,
                 const std::string& purpose) {
  auto pairs = own.pairs(own_now);
  const auto more = shared.pairs(shared_now);
  pairs.insert(pairs.end(), more.begin(), more.end());
  return Sample(pairs, Split::test, rules, purpose);
}

void write_scores(cluster::StoreWriter& store, const std::string& name,
                  const std::vector<Scores>& local, const char* axis) {
  std::vector<double> rows;
  for (const auto& scores : local) std::ranges::copy(to_row(scores), std::back_inserter(rows));
  store.write_rows<double>(name, rows, {std::ssize(score_columns())}, {{axis, "figure"}, ""});
}

std::vector<std::string> score_columns() {
  std::vector<std::string> columns;
  for (const auto& name : figure_names())
    for (const char* part : {"", "_low", "_high", "_n"}) columns.push_back(name + part);
  columns.insert(columns.end(), {"reused", "measured"});
  return columns;
}

std::vector<double> to_row(const Scores& scores) {
  std::vector<double> row;
  for (const auto& e : scores.figures)
    row.insert(row.end(), {e.value, e.interval.low, e.interval.high, static_cast<double>(e.n)});
  row.insert(row.end(), {static_cast<double>(scores.reused), static_cast<double>(scores.measured)});
  return row;
}

Scores from_row(std::span<const double> row) {
  Scores scores;
  std::size_t at = 0;
  for (auto& e : scores.figures) {
    e = {row[at], {row[at + 1], row[at + 2]}, static_cast<std::int64_t>(row[at + 3])};
    at += 4;
  }
  scores.reused = static_cast<std::int64_t>(row[at]);
  scores.measured = static_cast<std::int64_t>(row[at + 1]);
  return scores;
}

}  // namespace quench::evaluation
