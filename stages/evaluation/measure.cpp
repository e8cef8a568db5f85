#include "stages/evaluation/measure.hpp"

#include <algorithm>
#include <cmath>
#include <set>

#include "cluster/collectives.hpp"
#include "model/generate.hpp"
#include "model/score.hpp"
#include "stages/evaluation/codec.hpp"

namespace quench::evaluation {

namespace {

bool is_generated(ProbeKind kind) {
  return kind == ProbeKind::open || kind == ProbeKind::instruction;
}

model::ScoreItem item_of(const Probe& probe) { return {probe.context, probe.continuations}; }

// Whether the edited model may answer otherwise than the base model did. A generated answer is the
// base model's when neither the prompt nor the answer holds an edited token: by induction every
// step then sees what the base model saw.
bool is_touched(const model::Transformer& model, const Probe& probe, const Measurement& base) {
  if (!is_generated(probe.kind)) return model::reads_edited_row(model, item_of(probe));
  const auto edited = [&](std::int32_t id) { return model.overlay().edits(id); };
  return std::ranges::any_of(probe.context, edited) || std::ranges::any_of(base.answer, edited);
}

Measurement from_scores(const Probe& probe, const std::vector<model::ContinuationScore>& scores) {
  Measurement measurement;
  for (const auto& score : scores) {
    switch (probe.kind) {
      case ProbeKind::choice:
        measurement.values.push_back(static_cast<float>(score.mean()));
        break;
      case ProbeKind::letter:
        measurement.values.push_back(static_cast<float>(score.logprob));
        break;
      default:  // text: one continuation
        measurement.values = {static_cast<float>(-score.logprob), static_cast<float>(score.tokens)};
    }
  }
  return measurement;
}

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

}  // namespace

Meter::Meter(const model::Transformer& base, const model::Tokenizer& tokenizer,
             const MeasureOptions& options, cluster::Timers* timers)
    : base_(base), tokenizer_(tokenizer), options_(options), timers_(timers) {
  open_stops_ = base.config().stop_ids;
  if (const auto newline = tokenizer.encode("\n"); newline.size() == 1) {
    open_stops_.push_back(newline[0]);
  }
}

std::vector<Measurement> Meter::measure(cluster::Communicator& group,
                                        const model::Transformer& model,
                                        std::span<const Probe> probes,
                                        std::span<const Measurement> base_results) const {
  std::vector<Measurement> results(probes.size());
  std::vector<std::int64_t> open;  // to be computed
  for (std::size_t i = 0; i < probes.size(); ++i) {
    if (base_results.empty() || is_touched(model, probes[i], base_results[i])) {
      open.push_back(static_cast<std::int64_t>(i));
    } else {
      results[i] = base_results[i];
      results[i].reused = true;
    }
  }
  // Every size()-th open probe is this rank's: neighbours are alike, so shares cost about the same.
  std::vector<const Probe*> mine;
  for (std::size_t j = group.rank(); j < open.size(); j += group.size()) {
    mine.push_back(&probes[open[j]]);
  }
  std::string packed;
  cluster::agree(group, [&] { packed = pack(measure_locally(model, mine)); });
  const auto gathered = cluster::all_gather<char>(group, packed);
  for (int rank = 0; rank < group.size(); ++rank) {
    const auto piece = gathered.of(rank);
    auto share = unpack({piece.data(), piece.size()});
    for (std::size_t k = 0; k < share.size(); ++k) {
      results[open[rank + k * group.size()]] = std::move(share[k]);
    }
  }
  return results;
}

std::vector<Measurement> Meter::measure_locally(const model::Transformer& model,
                                                std::span<const Probe* const> probes) const {
  std::vector<Measurement> results(probes.size());
  std::vector<std::size_t> scored, open, instructions;
  for (std::size_t i = 0; i < probes.size(); ++i) {
    const auto kind = probes[i]->kind;
    (kind == ProbeKind::open          ? open
     : kind == ProbeKind::instruction ? instructions
                                      : scored)
        .push_back(i);
  }
  std::vector<model::ScoreItem> items;
  for (const auto i : scored) items.push_back(item_of(*probes[i]));
  const auto scores = score(model, items);
  for (std::size_t j = 0; j < scored.size(); ++j) {
    results[scored[j]] = from_scores(*probes[scored[j]], scores[j]);
  }
  answer_open(model, probes, open, results);
  answer_instructions(model, probes, instructions, results);
  return results;
}

std::vector<std::vector<model::ContinuationScore>> Meter::score(
    const model::Transformer& model, std::span<const model::ScoreItem> items) const {
  const cluster::Timers::Scope timer(timers_, "kernel/score");
  return model::score(model, items, {.max_tokens = options_.batch_tokens});
}

std::vector<std::vector<std::int32_t>> Meter::answers(
    const model::Transformer& model, std::span<const Probe* const> probes,
    std::span<const std::size_t> chosen, std::int64_t max_new_tokens,
    const std::vector<std::int32_t>& stops) const {
  const cluster::Timers::Scope timer(timers_, "kernel/generate");
  std::vector<std::vector<std::int32_t>> prompts;
  for (const auto i : chosen) prompts.push_back(probes[i]->context);
  return model::generate_greedy(model, prompts,
                                {.max_new_tokens = max_new_tokens, .stop_ids = stops});
}

void Meter::answer_open(const model::Transformer& model, std::span<const Probe* const> probes,
                        std::span<const std::size_t> chosen,
                        std::vector<Measurement>& results) const {
  auto ids = answers(model, probes, chosen, options_.open_tokens, open_stops_);
  for (std::size_t j = 0; j < chosen.size(); ++j) {
    const auto text = first_line(tokenizer_.decode(ids[j]));
    const bool right = answer_matches(text, probes[chosen[j]]->accepted);
    results[chosen[j]] = {.values = {right ? 1.0f : 0.0f}, .answer = std::move(ids[j])};
  }
}

void Meter::answer_instructions(const model::Transformer& model,
                                std::span<const Probe* const> probes,
                                std::span<const std::size_t> chosen,
                                std::vector<Measurement>& results) const {
  auto ids = answers(model, probes, chosen, options_.instruction_tokens, model.config().stop_ids);
  std::vector<model::ScoreItem> items;
  std::vector<std::size_t> answered;
  for (std::size_t j = 0; j < chosen.size(); ++j) {
    const float repeated = ids[j].empty() ? 1.0f : static_cast<float>(repetition(ids[j]));
    results[chosen[j]] = {.values = {0, 0, repeated}, .answer = ids[j]};
    if (ids[j].empty()) continue;
    items.push_back({probes[chosen[j]]->context, {std::move(ids[j])}});
    answered.push_back(chosen[j]);
  }
  const auto fluency = score(base_, items);
  for (std::size_t j = 0; j < answered.size(); ++j) {
    results[answered[j]].values[0] = static_cast<float>(-fluency[j][0].logprob);
    results[answered[j]].values[1] = static_cast<float>(fluency[j][0].tokens);
  }
}

double repetition(std::span<const std::int32_t> ids) {
  constexpr std::size_t order = 3;
  if (ids.size() <= order) return 0;
  std::set<std::array<std::int32_t, order>> seen;
  const std::size_t total = ids.size() - order + 1;
  for (std::size_t i = 0; i < total; ++i) seen.insert({ids[i], ids[i + 1], ids[i + 2]});
  return 1 - static_cast<double>(seen.size()) / static_cast<double>(total);
}

}  // namespace quench::evaluation
