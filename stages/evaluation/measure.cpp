#include "stages/evaluation/measure.hpp"

#include <algorithm>
#include <functional>
#include <utility>

#include "cluster/collectives.hpp"
#include "cluster/partition.hpp"
#include "model/generate.hpp"
#include "stages/evaluation/codec.hpp"

namespace quench::evaluation {

namespace {

model::ScoreItem item_of(const Probe& probe) { return {probe.context, probe.continuations}; }

}  // namespace

Meter::Meter(const model::Transformer& base, const model::Tokenizer& tokenizer,
             const MeasureOptions& options, cluster::Timers* timers)
    : base_(base), options_(options), timers_(timers) {
  options_.asking.tokenizer = &tokenizer;
}

const std::vector<std::int32_t>& Meter::line_stops() const {
  std::call_once(line_stops_made_, [this] {
    line_stops_ = base_.config().stop_ids;
    for (std::int32_t id = 0; id < base_.config().vocab; ++id)
      if (options_.asking.tokenizer->decode(std::span(&id, 1)).find('\n') != std::string::npos)
        line_stops_.push_back(id);
  });
  return line_stops_;
}

// A generated answer is the base model's when neither the prompt nor the answer holds an edited
// token: by induction every step then sees what the base model saw.
bool Meter::is_touched(const model::Transformer& model, const Probe& probe,
                       const Measurement& base) const {
  if (!tasks::task_of(probe.kind).generation(probe, options_.asking))
    return model::reads_edited_row(model, item_of(probe));
  const auto edited = [&](std::int32_t id) { return model.overlay().edits(id); };
  return std::ranges::any_of(probe.context, edited) || std::ranges::any_of(base.answer, edited);
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
  // Costliest first: a token generated is a step of its own.
  const auto cost = [&](std::int64_t i) {
    const auto& probe = probes[i];
    const auto generation = tasks::task_of(probe.kind).generation(probe, options_.asking);
    auto tokens = std::ssize(probe.context);
    for (const auto& continuation : probe.continuations) tokens += std::ssize(continuation);
    return std::pair(generation ? generation->max_new_tokens : 0, tokens);
  };
  std::ranges::stable_sort(open, std::greater{}, cost);
  std::vector<const Probe*> mine;
  for (std::int64_t j = 0; j < std::ssize(open); ++j)
    if (cluster::dealt_to(j, group.size()) == group.rank()) mine.push_back(&probes[open[j]]);
  std::string packed;
  cluster::agree(group, [&] { packed = pack(measure_locally(model, mine)); });
  const auto gathered = cluster::all_gather<char>(group, packed);
  std::vector<std::vector<Measurement>> shares;
  for (int rank = 0; rank < group.size(); ++rank) {
    const auto piece = gathered.of(rank);
    shares.push_back(unpack({piece.data(), piece.size()}));
  }
  std::vector<std::size_t> taken(shares.size());
  for (std::int64_t j = 0; j < std::ssize(open); ++j) {
    const auto rank = cluster::dealt_to(j, group.size());
    results[open[j]] = std::move(shares[rank][taken[rank]++]);
  }
  return results;
}

std::vector<Measurement> Meter::measure_locally(const model::Transformer& model,
                                                std::span<const Probe* const> probes) const {
  std::vector<Measurement> results(probes.size());
  std::vector<std::size_t> scored, lines, answers;
  for (std::size_t i = 0; i < probes.size(); ++i) {
    const auto generation = tasks::task_of(probes[i]->kind).generation(*probes[i], options_.asking);
    (!generation ? scored : generation->one_line ? lines : answers).push_back(i);
  }
  score_probes(model, probes, scored, results);
  answer_probes(model, probes, lines, true, results);
  answer_probes(model, probes, answers, false, results);
  return results;
}

std::vector<std::vector<model::ContinuationScore>> Meter::score(
    const model::Transformer& model, std::span<const model::ScoreItem> items,
    bool first_choices) const {
  const cluster::Timers::Scope timer(timers_, "kernel/score");
  return model::score(model, items,
                      {.max_tokens = options_.batch_tokens, .first_choices = first_choices});
}

// Which tokens are first choices is told of running text alone: it takes a look at all logits.
void Meter::score_probes(const model::Transformer& model, std::span<const Probe* const> probes,
                         std::span<const std::size_t> chosen,
                         std::vector<Measurement>& results) const {
  for (const bool is_text : {false, true}) {
    std::vector<model::ScoreItem> items;
    std::vector<std::size_t> places;
    for (const auto i : chosen) {
      if ((probes[i]->continuations.size() == 1) != is_text) continue;
      items.push_back(item_of(*probes[i]));
      places.push_back(i);
    }
    const auto scores = score(model, items, is_text);
    for (std::size_t j = 0; j < places.size(); ++j) {
      const auto& probe = *probes[places[j]];
      results[places[j]] = tasks::task_of(probe.kind).of_scores(probe, scores[j]);
    }
  }
}

void Meter::answer_probes(const model::Transformer& model, std::span<const Probe* const> probes,
                          std::span<const std::size_t> chosen, bool one_line,
                          std::vector<Measurement>& results) const {
  if (chosen.empty()) return;
  std::vector<tasks::Tokens> prompts;
  std::vector<std::int64_t> limits;
  for (const auto i : chosen) {
    const auto& probe = *probes[i];
    prompts.push_back(probe.context);
    limits.push_back(tasks::task_of(probe.kind).generation(probe, options_.asking)->max_new_tokens);
  }
  std::vector<tasks::Tokens> answers;
  {
    const cluster::Timers::Scope timer(timers_, "kernel/generate");
    const auto& stops = one_line ? line_stops() : model.config().stop_ids;
    answers =
        model::generate_greedy(model, prompts, {.stop_ids = stops, .keep_stop = one_line}, limits);
    if (one_line) std::ranges::for_each(answers, [this](auto& answer) { end_with_line(answer); });
  }
  const auto ratings = rate(probes, chosen, answers);
  for (std::size_t j = 0; j < chosen.size(); ++j) {
    const auto& probe = *probes[chosen[j]];
    results[chosen[j]] = tasks::task_of(probe.kind)
                             .of_answer(probe, std::move(answers[j]), ratings[j], options_.asking);
  }
}

// The token that ended it stays where it holds more than the break: "." of ".\n".
void Meter::end_with_line(tasks::Tokens& answer) const {
  if (answer.empty()) return;
  const auto last = answer.back();
  const bool ends =
      std::ranges::find(base_.config().stop_ids, last) != base_.config().stop_ids.end();
  if (ends || options_.asking.tokenizer->decode(std::span(&last, 1)).starts_with('\n'))
    answer.pop_back();
}

std::vector<model::ContinuationScore> Meter::rate(std::span<const Probe* const> probes,
                                                  std::span<const std::size_t> chosen,
                                                  std::span<const tasks::Tokens> answers) const {
  std::vector<model::ContinuationScore> ratings(chosen.size());
  std::vector<model::ScoreItem> items;
  std::vector<std::size_t> rated;
  for (std::size_t j = 0; j < chosen.size(); ++j) {
    const auto& probe = *probes[chosen[j]];
    if (answers[j].empty() || !tasks::task_of(probe.kind).is_rated()) continue;
    items.push_back({probe.context, {answers[j]}});
    rated.push_back(j);
  }
  const auto scores = score(base_, items, false);
  for (std::size_t k = 0; k < rated.size(); ++k) ratings[rated[k]] = scores[k][0];
  return ratings;
}

}  // namespace quench::evaluation
