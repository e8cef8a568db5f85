#include "stages/evaluation/judge.hpp"

#include <cmath>
#include <filesystem>
#include <limits>
#include <set>

#include "cluster/collectives.hpp"
#include "cluster/hash.hpp"
#include "cluster/log.hpp"
#include "stages/evaluation/difference.hpp"
#include "stages/evaluation/judged_scores.hpp"
#include "stages/evaluation/results.hpp"

namespace quench::evaluation {

namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

// A question to the judge about what one model said; the same text has the same id.
struct Ask {
  std::string id, prompt;
  double known = nan;  // what needs no judge
};

Ask make_ask(const std::string& judge, JudgeQuestion question, const std::string& asked,
             const std::string& gold, const std::string& answer) {
  // Nothing is said about nothing: an empty answer is wrong and unrelated.
  const bool empty = answer.find_first_not_of(" \t\r\n") == std::string::npos;
  if (empty && question != JudgeQuestion::fluent) return {"", "", 0};
  auto prompt = judge_prompt(question, asked, gold, answer);
  auto id = "evaluation-" + cluster::Sha256().field(judge).field(prompt).hex().substr(0, 24);
  return {std::move(id), std::move(prompt), nan};
}

// What is judged: a probe's answer by the base and by the joint model.
struct Item {
  std::int64_t probe = 0, concept_index = -1;
  JudgeQuestion question = JudgeQuestion::correct;
  Subset subset = Subset::own;
  Ask base, joint;
};

class Listing {
 public:
  Listing(const JudgeInputs& inputs, const Measurements& joint) : inputs_(inputs), joint_(joint) {}

  std::vector<Item> items() {
    std::vector<Item> list;
    const auto& offsets = inputs_.probes.offsets;
    for (std::int64_t c = 0; c <= inputs_.probes.concepts; ++c) {
      const bool is_shared = c == inputs_.probes.concepts;
      const auto probes = is_shared ? inputs_.probes.shared() : inputs_.probes.of_concept(c);
      const cluster::Range ids{offsets[c], offsets[c + 1]};
      const auto base = inputs_.baseline->read(ids), joint = joint_.read(ids);
      for (std::size_t i = 0; i < probes.size(); ++i)
        if (probes[i].split == Split::test && !joint[i].values.empty())
          add(list, probes[i], is_shared ? -1 : c, base[i], joint[i]);
    }
    return list;
  }

 private:
  std::string text(const std::vector<std::int32_t>& ids) const {
    return inputs_.tokenizer->decode(ids);
  }

  void add(std::vector<Item>& list, const Probe& probe, std::int64_t concept_index,
           const Measurement& base, const Measurement& joint) const {
    const auto gold = probe.accepted.empty() ? "" : probe.accepted.front();
    for (const auto question : tasks::task_of(probe.kind).judged()) {
      const auto ask = [&](const Measurement& said) {
        return make_ask(inputs_.judge, question, probe.asked, gold, text(said.answer));
      };
      list.push_back({probe.id, concept_index, question, probe.subset, ask(base), ask(joint)});
    }
  }

  const JudgeInputs& inputs_;
  const Measurements& joint_;
};

// The questions to the judge, each once.
std::vector<BatchQuestion> questions_of(const std::vector<Item>& items) {
  std::vector<BatchQuestion> questions;
  std::set<std::string> listed;
  for (const auto& item : items)
    for (const auto* ask : {&item.base, &item.joint})
      if (!ask->id.empty() && listed.insert(ask->id).second)
        questions.push_back({ask->id, ask->prompt});
  return questions;
}

// Verdicts by item, and how many are missing.
struct Verdicts {
  std::vector<double> base, joint;
  std::int64_t asked = 0, missing = 0;
  std::int64_t unreadable = 0;  // of the missing ones: there is an answer, but no verdict in it

  double of(const Ask& ask, JudgeQuestion question, const BatchContents& answers) {
    if (ask.id.empty()) return ask.known;
    ++asked;
    const auto found = answers.find(ask.id);
    const bool answered = found != answers.end();
    const auto verdict = answered ? judge_verdict(question, found->second) : std::nullopt;
    missing += verdict ? 0 : 1;
    unreadable += answered && !verdict ? 1 : 0;
    return verdict.value_or(nan);
  }
};

double mean(const std::vector<double>& values) {
  double sum = 0, count = 0;
  for (const double x : values)
    if (!std::isnan(x)) {
      sum += x;
      count += 1;
    }
  return count == 0 ? nan : sum / count;
}

const std::vector<std::string>& judged_columns() {
  static const std::vector<std::string> columns{
      "base", "joint", "difference", "difference_low", "difference_high", "p", "n"};
  return columns;
}

// Base, joint, and the paired difference of the items that `wanted` picks.
template <typename Wanted>
std::vector<double> row_of(const std::vector<Item>& items, const Verdicts& verdicts,
                           std::int64_t resamples, const std::string& purpose,
                           const Wanted& wanted) {
  PairedItems pairs;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (!wanted(items[i])) continue;
    const bool both = !std::isnan(verdicts.base[i]) && !std::isnan(verdicts.joint[i]);
    pairs.a.push_back(both ? verdicts.base[i] : nan);
    pairs.b.push_back(both ? verdicts.joint[i] : nan);
  }
  const auto d = paired_difference(pairs, resamples, "judge/" + purpose);
  return {mean(pairs.a), mean(pairs.b),           d.value, d.interval.low, d.interval.high,
          d.p,           static_cast<double>(d.n)};
}

// The rows of concepts (own, then similar, of each) and of instructions (relatedness, fluency).
struct Rows {
  std::vector<double> open, instructions;
};

Rows make_rows(const JudgeInputs& inputs, const Options& options, const std::vector<Item>& items,
               const Verdicts& verdicts) {
  Rows rows;
  const auto append = [](std::vector<double>& to, const std::vector<double>& row) {
    to.insert(to.end(), row.begin(), row.end());
  };
  for (std::int64_t c = 0; c < inputs.probes.concepts; ++c)
    for (const auto subset : {Subset::own, Subset::similar})
      append(rows.open, row_of(items, verdicts, options.resamples,
                               inputs.probes.hash(c) + std::to_string(static_cast<int>(subset)),
                               [&](const Item& item) {
                                 return item.concept_index == c && item.subset == subset;
                               }));
  for (const auto question : {JudgeQuestion::related, JudgeQuestion::fluent})
    append(rows.instructions,
           row_of(items, verdicts, options.resamples, std::to_string(static_cast<int>(question)),
                  [&](const Item& item) { return item.question == question; }));
  return rows;
}

void write_judgement(const JudgeInputs& inputs, const Options& options, cluster::Context& context,
                     const std::vector<Item>& items, const Verdicts& verdicts,
                     const JudgedScores& scores) {
  const bool root = context.world().rank() == 0;  // which has all items; the others write no rows
  const auto rows = root ? make_rows(inputs, options, items, verdicts) : Rows{};
  std::vector<std::int64_t> probes;
  std::vector<std::uint8_t> questions;
  for (const auto& item : items) {
    probes.push_back(item.probe);
    questions.push_back(static_cast<std::uint8_t>(item.question));
  }
  const auto width = std::ssize(judged_columns());
  const std::string none;
  cluster::StoreWriter store(context.world(), context.run_directory / "judgement.h5",
                             {"judgement", judgement_schema, inputs.run_id, inputs.inputs_hash});
  store.write_rows<std::int64_t>("items/probe", probes, {}, {{"item"}, none});
  store.write_rows<std::uint8_t>("items/question", questions, {}, {{"item"}, none});
  store.attribute("items/question", "values", std::string("0 correct, 1 related, 2 fluent"));
  store.write_rows<double>("items/base", verdicts.base, {}, {{"item"}, none});
  store.write_rows<double>("items/joint", verdicts.joint, {}, {{"item"}, none});
  store.write_rows<double>("open/scores", rows.open, {2, width},
                           {{"concept", "subset", "figure"}, none});
  store.write_rows<double>("instructions/scores", rows.instructions, {width},
                           {{"question", "figure"}, none});
  write_scores(store, "joint/scores", scores.local, "concept");
  write_scores(store, "joint/mean", root ? std::vector{scores.mean} : std::vector<Scores>{},
               "mean");
  store.write_strings("joint/figures", root ? score_columns() : std::vector<std::string>{},
                      {{"figure"}, none});
  store.write_strings("figures", root ? judged_columns() : std::vector<std::string>{},
                      {{"figure"}, none});
  store.attribute("/", "asked", verdicts.asked);
  store.attribute("/", "missing", verdicts.missing);
  store.attribute("/", "failures", std::int64_t{0});
  store.finish();
}

// On the rank that has the items.
Verdicts read_verdicts(const std::vector<Item>& items, const BatchContents& answers) {
  Verdicts verdicts;
  for (const auto& item : items) {
    verdicts.base.push_back(verdicts.of(item.base, item.question, answers));
    verdicts.joint.push_back(verdicts.of(item.joint, item.question, answers));
  }
  cluster::log_info("judge: evaluation: " + std::to_string(verdicts.asked - verdicts.missing) +
                    " of " + std::to_string(verdicts.asked) + " verdicts given, " +
                    std::to_string(verdicts.missing - verdicts.unreadable) + " answers missing, " +
                    std::to_string(verdicts.unreadable) + " without a verdict");
  return verdicts;
}

// Collective. Rank 0's verdicts, on all ranks.
std::vector<Verdict> share(cluster::Communicator& world, const std::vector<Item>& items,
                           const Verdicts& verdicts) {
  std::vector<std::int64_t> places;
  std::vector<double> values;
  for (std::size_t i = 0; i < items.size(); ++i) {
    places.insert(places.end(), {items[i].probe, static_cast<std::int64_t>(items[i].question)});
    values.insert(values.end(), {verdicts.base[i], verdicts.joint[i]});
  }
  places = cluster::all_gather<std::int64_t>(world, places).values;
  values = cluster::all_gather<double>(world, values).values;
  std::vector<Verdict> all;
  for (std::size_t i = 0; i < places.size(); i += 2)
    all.push_back({places[i], static_cast<JudgeQuestion>(places[i + 1]), values[i], values[i + 1]});
  return all;
}

}  // namespace

void run_judge(const JudgeInputs& inputs, const Options& options, cluster::Context& context) {
  constexpr std::int64_t longest = 350;  // tokens of an answer (methods 7.3)
  auto& world = context.world();
  const Measurements joint(context.run_directory / "evaluation.h5", "evaluation",
                           "joint/measurements");
  std::vector<Item> items;  // on rank 0
  cluster::agree(world, [&] {
    if (world.rank() > 0) return;
    std::filesystem::remove(context.run_directory / "judgement.h5");
    items = Listing(inputs, joint).items();
  });
  const auto round = "evaluation-" + inputs.inputs_hash.substr(0, 8);
  const auto answers = inputs.ask(round, questions_of(items), longest);
  Verdicts verdicts;
  if (world.rank() == 0) verdicts = read_verdicts(items, answers);
  verdicts.asked = cluster::broadcast_value(world, 0, verdicts.asked);
  verdicts.missing = cluster::broadcast_value(world, 0, verdicts.missing);
  const auto scores = judged_scores(inputs, options, share(world, items, verdicts), joint, context);
  write_judgement(inputs, options, context, items, verdicts, scores);
}

}  // namespace quench::evaluation
