#include "pipeline/evaluated_run.hpp"

#include <algorithm>

#include "cluster/hash.hpp"

namespace quench::pipeline {

namespace {

std::vector<evaluation::Pair> pairs_of(const std::vector<Probe>& probes,
                                       const std::vector<Measurement>& base,
                                       const std::vector<Measurement>& edited) {
  std::vector<evaluation::Pair> pairs;
  for (std::size_t i = 0; i < probes.size(); ++i)
    pairs.push_back({&probes[i], &base[i], &edited[i]});
  return pairs;
}

void add_counts(const std::vector<Probe>& probes, EvaluatedRun::TestItems& to) {
  for (const auto& probe : probes)
    if (probe.split == Split::test) ++to.counts[{probe.kind, probe.subset}];
}

}  // namespace

void EvaluatedRun::require(const SavedRun& run, Erased erased, Problems& problems) {
  run.require({"corpus", "baseline", "erasure", "evaluation"}, problems);
  if (erased == Erased::alone &&
      run.manifest().at("configuration").value("evaluation.alone", "true") == "false")
    problems.add(run.directory().string(),
                 "no edit was evaluated alone (evaluation.alone = false); give the run's own "
                 "command again with --set evaluation.alone=true --accept-changes, which evaluates "
                 "anew and keeps the edits");
}

EvaluatedRun::EvaluatedRun(const SavedRun& run, Erased erased)
    : run_(run),
      erased_(erased),
      group_(erased == Erased::alone ? "alone" : "joint"),
      corpus_(run.file("corpus.h5")),
      edits_(run.file("edits.h5")),
      evaluation_(run.file("evaluation.h5"), "evaluation", evaluation::schema),
      base_(run.file("baseline.h5"), "baseline", "measurements"),
      edited_(run.file("evaluation.h5"), "evaluation", group_ + "/measurements"),
      status_(evaluation_.read_strings("status")) {
  evaluation::Options options;
  OptionTable table;
  evaluation::describe(options, table);
  run.read_options(table);
  rules_ = evaluation::rules_of(options);
  std::vector<std::string> rules{"evaluation.objective", "evaluation.form",
                                 "evaluation.invalid",   "evaluation.unguarded_fraction",
                                 "evaluation.letter",    "evaluation.cut_response"};
  const std::vector<std::string> lengths{"evaluation.open_line", "evaluation.open_tokens"};
  if (options.form == "open") rules.insert(rules.end(), lengths.begin(), lengths.end());
  rules_text_ = table.fingerprint(rules, {});
  answers_text_ = table.fingerprint(
      {"evaluation.open_line", "evaluation.open_tokens", "evaluation.instruction_tokens"}, {});
  const auto& offsets = corpus_.probe_offsets();
  shared_ = read(corpus_.shared_probes(),
                 {offsets[static_cast<std::size_t>(concepts())], offsets.back()});
  // The stored status tells of the joint model.
  for (std::int64_t c = 0; erased == Erased::alone && c < concepts(); ++c)
    status_[static_cast<std::size_t>(c)] = is_measured(c) ? edits_.status(c) : "failed";
  Problems missing;  // attacks are on the joint model
  run.require({"relearning"}, missing);
  if (missing.empty() && erased == Erased::jointly)
    attacks_.emplace(run.file("relearning.h5"), AttackScorer(corpus_, base_, rules_));
}

EvaluatedRun::Said EvaluatedRun::read(std::vector<Probe> probes, cluster::Range ids) const {
  return {std::move(probes), base_.read(ids), edited_.read(ids)};
}

std::int64_t EvaluatedRun::tokens(std::int64_t c) const { return std::ssize(edits_.edit(c).ids); }

evaluation::Scores EvaluatedRun::scores(std::int64_t c) const {
  return evaluation::from_row(evaluation_.read_rows<double>(group_ + "/scores", {c, c + 1}));
}

bool EvaluatedRun::is_measured(std::int64_t c) const {
  const auto of = scores(c);
  return of.reused + of.measured > 0;
}

evaluation::Scores EvaluatedRun::mean() const {
  return evaluation::from_row(evaluation_.read<double>(group_ + "/mean"));
}

evaluation::Sample EvaluatedRun::sample(std::int64_t c, const std::string& purpose) const {
  const auto at = static_cast<std::size_t>(c);
  const auto& offsets = corpus_.probe_offsets();
  const auto own = read(corpus_.probes(c), {offsets[at], offsets[at + 1]});
  auto pairs = pairs_of(own.probes, own.base, own.edited);
  if (has_general()) {
    const auto general = pairs_of(shared_.probes, shared_.base, shared_.edited);
    pairs.insert(pairs.end(), general.begin(), general.end());
  }
  return {pairs, Split::test, rules_, purpose};
}

EvaluatedRun::TestItems EvaluatedRun::items(std::int64_t c) const {
  cluster::Sha256 hash;
  hash.field(corpus_.hash(c)).field(run_.manifest().at("inputs").value("catalog/shared", ""));
  TestItems items{hash.hex(), {}};
  add_counts(corpus_.probes(c), items);
  add_counts(shared_.probes, items);
  return items;
}

bool EvaluatedRun::TestItems::agree_with(const TestItems& other) const {
  return records == other.records && std::ranges::all_of(counts, [&](const auto& entry) {
           const auto found = other.counts.find(entry.first);
           return found == other.counts.end() || found->second == entry.second;
         });
}

}  // namespace quench::pipeline
