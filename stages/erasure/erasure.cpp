#include "stages/erasure/erasure.hpp"

#include <algorithm>

#include "cluster/collectives.hpp"
#include "cluster/hash.hpp"
#include "cluster/log.hpp"
#include "stages/erasure/joint_mean.hpp"
#include "stages/erasure/search.hpp"

namespace quench::erasure {

namespace {

// What the back-off of the joint edit found.
struct JointResult {
  std::vector<double> factors;     // tried
  std::vector<CellScores> scores;  // mean over edited concepts
  double factor = 0;
  std::string status = "nothing_to_do";  // ok, gated, nothing_to_do
  std::vector<std::int64_t> edited;      // concepts that take part
  Joint combined;                        // at their own strengths, by the rule for shared tokens
  std::vector<Overlap> overlaps;         // between concepts
};

std::string key_of(const std::vector<std::string>& parts) {
  cluster::Sha256 hash;
  for (const auto& part : parts) hash.field(part);
  return hash.hex();
}

// What names the concepts of a joint edit.
std::string key_of(const std::vector<std::int64_t>& concepts) {
  std::vector<std::string> parts;
  for (const auto c : concepts) parts.push_back(std::to_string(c));
  return key_of(parts);
}

// The whole stage, a method a step.
class Run {
 public:
  Run(const Inputs& inputs, const Options& options, cluster::Context& context)
      : inputs_(inputs), options_(options), context_(context) {}

  void travel() {
    const auto results = search_all();
    warn_of_unmeasured(results);
    const auto joint = back_off(results);
    write(results, joint);
    cluster::remove_journals(context_, "erasure");
  }

 private:
  cluster::TaskResults search_all() {
    std::vector<cluster::Task> tasks;
    for (std::int64_t c = 0; c < inputs_.concepts; ++c) {
      const double tokens = static_cast<double>(inputs_.selected(c).tokens.size());
      tasks.push_back(
          {key_of({"cell", std::to_string(schema), inputs_.inputs_hash, inputs_.concept_hash(c)}),
           1 + tokens});
    }
    return cluster::run_tasks(context_, "erasure", tasks,
                              [&](std::int64_t c, cluster::Communicator& group) {
                                return pack(search(inputs_, options_, group, c));
                              });
  }

  void warn_of_unmeasured(const cluster::TaskResults& results) const {
    if (!context_.is_root()) return;
    std::int64_t searched = 0, unmeasured = 0;
    for (std::int64_t c = 0; c < inputs_.concepts; ++c) {
      if (!results.failure(c).empty()) continue;
      const auto cells = unpack(results.read(c)).cells;
      searched += cells.empty() ? 0 : 1;
      unmeasured += std::ranges::any_of(cells, is_unmeasured) ? 1 : 0;
    }
    if (unmeasured == 0) return;
    cluster::log_warning(
        "erasure: for " + std::to_string(unmeasured) + " of " + std::to_string(searched) +
        " concepts the train questions of the neighbours or the general ones measure nothing "
        "(there "
        "are none, or the untouched model does not answer them above chance); they are left out of "
        "specificity and of the harmonic mean that chooses a strength");
  }

  // The factors in order until one passes the joint gates.
  JointResult back_off(const cluster::TaskResults& results) {
    JointResult joint;
    joint.edited = edited_concepts(results);
    if (joint.edited.empty()) return joint;
    join(results, joint);
    joint.status = "gated";
    for (const double factor : options_.back_off) {
      const auto scores = score_factor(joint.edited, joint.combined.edit, factor);
      joint.factors.push_back(factor);
      joint.scores.push_back(scores);
      if (scores.general_left < options_.joint_min_general ||
          is_incoherent(scores, options_.joint_min_coherence)) {
        continue;
      }
      joint.factor = factor;
      joint.status = "ok";
      break;
    }
    if (joint.status == "gated" && context_.is_root()) {
      cluster::log_warning(
          "erasure: no back-off factor of the joint edit passes its gates; nothing is erased "
          "jointly");
    }
    return joint;
  }

  std::vector<std::int64_t> edited_concepts(const cluster::TaskResults& results) const {
    std::vector<std::int64_t> edited;
    for (std::int64_t c = 0; c < inputs_.concepts; ++c) {
      if (results.failure(c).empty() && unpack(results.read(c)).strength > 0) edited.push_back(c);
    }
    return edited;
  }

  void join(const cluster::TaskResults& results, JointResult& joint) const {
    std::vector<Share> shares;
    for (const auto c : joint.edited) {
      auto result = unpack(results.read(c));
      shares.push_back({std::move(result.edit), result.strength, inputs_.group(c)});
    }
    joint.combined = combine(shares, options_.shared_tokens);
    joint.overlaps = overlaps(shares);
    for (auto& pair : joint.overlaps) {
      pair.first = joint.edited[pair.first];
      pair.second = joint.edited[pair.second];
    }
  }

  CellScores score_factor(const std::vector<std::int64_t>& edited, const model::RowDeltas& edit,
                          double factor) {
    const auto members = key_of(edited);
    std::vector<cluster::Task> tasks;
    for (const auto c : edited) {
      tasks.push_back({key_of({"joint", std::to_string(schema), inputs_.inputs_hash, members,
                               inputs_.concept_hash(c), std::to_string(factor)}),
                       1});
    }
    JointMean mean(std::ssize(edited));
    const auto results = cluster::run_tasks(
        context_, "erasure", tasks, [&](std::int64_t i, cluster::Communicator& group) {
          return pack_scores(inputs_.score_joint(group, edited[i], edit, factor, mean.times(i)));
        });
    for (std::int64_t i = 0; i < results.size(); ++i) {
      if (const auto why = results.failure(i); !why.empty()) {
        throw InternalError("erasure: the joint edit could not be scored: " + why);
      }
      mean.add(i, unpack_scores(results.read(i)));
    }
    return mean.finish();
  }

  void write(const cluster::TaskResults& results, const JointResult& joint);
  void write_joint(cluster::StoreWriter& store, const JointResult& joint);
  void write_collisions(cluster::StoreWriter& store, const JointResult& joint);

  const Inputs& inputs_;
  const Options& options_;
  cluster::Context& context_;
};

// This rank's rows of edits.h5.
struct LocalRows {
  std::vector<std::vector<std::int32_t>> tokens;
  std::vector<std::vector<float>> values, row_norms;
  std::vector<std::vector<std::uint8_t>> is_variant;
  std::vector<double> strength;
  std::vector<std::string> status;
  std::vector<std::int64_t> group;
  std::vector<std::int64_t> cell_concept;
  std::vector<double> cell_strength, cell_scores, cell_error;
  std::vector<std::uint8_t> cell_passed;
  std::int64_t width = 0;

  void add(std::int64_t c, ConceptResult result) {
    width = std::max(width, result.edit.width);
    tokens.push_back(std::move(result.edit.ids));
    values.push_back(std::move(result.edit.values));
    is_variant.push_back(std::move(result.is_variant));
    row_norms.push_back(std::move(result.row_norms));
    strength.push_back(result.strength);
    status.push_back(result.status);
    for (const auto& cell : result.cells) {
      cell_concept.push_back(c);
      cell_strength.push_back(cell.strength);
      cell_passed.push_back(cell.passed ? 1 : 0);
      cell_error.push_back(cell.error);
      std::ranges::copy(to_row(cell.scores), std::back_inserter(cell_scores));
    }
  }
};

void Run::write(const cluster::TaskResults& results, const JointResult& joint) {
  auto& world = context_.world();
  LocalRows rows;
  cluster::agree(world, [&] {
    const auto mine = cluster::rows_of(inputs_.concepts, world.size(), world.rank());
    for (auto c = mine.begin; c < mine.end; ++c) {
      ConceptResult failed;
      failed.status = "failed";
      rows.add(c, results.failure(c).empty() ? unpack(results.read(c)) : failed);
      rows.group.push_back(inputs_.group(c));
    }
  });
  const auto width = cluster::all_reduce_value(world, rows.width, cluster::Op::max);
  const std::vector<std::int64_t> figures = {std::ssize(cell_figures())};

  cluster::StoreWriter store(world, context_.run_directory / "edits.h5",
                             {"erasure", schema, inputs_.run_id, inputs_.inputs_hash});
  store.write_ragged<std::int32_t>("edits/tokens", rows.tokens, {{"concept", "token"}, ""});
  store.write_ragged<float>("edits/values", rows.values,
                            {{"concept", "token x width"}, "stored embedding units, to subtract"});
  store.write_ragged<std::uint8_t>("edits/is_variant", rows.is_variant, {{"concept", "token"}, ""});
  store.write_ragged<float>("edits/row_norms", rows.row_norms,
                            {{"concept", "token"}, "stored embedding units"});
  store.write_rows<std::int64_t>("edits/group", rows.group, {}, {{"concept"}, ""});
  store.write_rows<double>("edits/strength", rows.strength, {}, {{"concept"}, ""});
  store.write_strings("edits/status", rows.status, {{"concept"}, ""});
  store.write_rows<std::int64_t>("cells/concept", rows.cell_concept, {}, {{"cell"}, ""});
  store.write_rows<double>("cells/strength", rows.cell_strength, {}, {{"cell"}, ""});
  store.write_rows<std::uint8_t>("cells/passed", rows.cell_passed, {}, {{"cell"}, ""});
  store.write_rows<double>("cells/scores", rows.cell_scores, figures, {{"cell", "figure"}, ""});
  store.write_rows<double>("cells/error", rows.cell_error, {}, {{"cell"}, ""});
  write_joint(store, joint);
  write_collisions(store, joint);
  store.attribute("/", "search", options_.search);
  store.attribute("/", "choice", options_.choice);
  store.attribute("/", "target_efficacy", options_.target_efficacy);
  store.attribute("/", "width", width);
  store.attribute("/", "failures", results.failures());
  store.finish();
}

void Run::write_joint(cluster::StoreWriter& store, const JointResult& joint) {
  const bool root = context_.is_root();
  std::vector<double> scores;
  for (const auto& s : joint.scores) std::ranges::copy(to_row(s), std::back_inserter(scores));
  const auto at_root = [&](const std::vector<double>& all) {
    return root ? std::span<const double>(all) : std::span<const double>();
  };
  store.write_rows<double>("joint/factors", at_root(joint.factors), {}, {{"factor"}, ""});
  store.write_rows<double>("joint/scores", at_root(scores), {std::ssize(cell_figures())},
                           {{"factor", "figure"}, ""});
  store.write_strings("cells/figures", root ? cell_figures() : std::vector<std::string>{},
                      {{"figure"}, ""});
  store.attribute("/", "joint_factor", joint.factor);
  store.attribute("/", "joint_status", joint.status);
  store.attribute("/", "shared_tokens", options_.shared_tokens);
}

// Rows of all concepts, and pairs, are written by rank 0.
void Run::write_collisions(cluster::StoreWriter& store, const JointResult& joint) {
  const bool root = context_.is_root();
  const auto rows = root ? inputs_.concepts : 0;
  std::vector<std::vector<std::int32_t>> shared(rows), dropped(rows);
  for (std::size_t i = 0; root && i < joint.edited.size(); ++i) {
    shared[joint.edited[i]] = joint.combined.shared[i];
    dropped[joint.edited[i]] = joint.combined.dropped[i];
  }
  std::vector<std::int64_t> first, second, tokens;
  std::vector<double> cosine;
  for (std::size_t i = 0; root && i < joint.overlaps.size(); ++i) {
    first.push_back(joint.overlaps[i].first);
    second.push_back(joint.overlaps[i].second);
    tokens.push_back(joint.overlaps[i].tokens);
    cosine.push_back(joint.overlaps[i].cosine);
  }
  store.write_ragged<std::int32_t>("edits/shared", shared, {{"concept", "token"}, ""});
  store.write_ragged<std::int32_t>("edits/dropped", dropped, {{"concept", "token"}, ""});
  store.write_rows<std::int64_t>("overlaps/first", first, {}, {{"pair"}, ""});
  store.write_rows<std::int64_t>("overlaps/second", second, {}, {{"pair"}, ""});
  store.write_rows<std::int64_t>("overlaps/tokens", tokens, {}, {{"pair"}, ""});
  store.write_rows<double>("overlaps/cosine", cosine, {}, {{"pair"}, ""});
}

}  // namespace

void describe(Options& options, OptionTable& table) {
  table.add("erasure.strengths", options.strengths,
            "strengths of an edit that are tried, or from the least to the largest of which is "
            "searched; 1 removes the modelled part once",
            {0.0001, 100000});
  table.add_choice("erasure.search", options.search,
                   "which strengths are tried: all of the list (grid), or as few as it takes to "
                   "find the smallest that reaches target_efficacy (target)",
                   {"grid", "target"});
  table.add_choice("erasure.unknown", options.unknown,
                   "a concept that the untouched model is not shown to know: leave it, or edit it "
                   "as any other, as the paper does",
                   {"leave", "edit"});
  table.add_choice("erasure.choice", options.choice,
                   "of the strengths tried, where the grid or a target out of reach leaves the "
                   "choice: that of the highest harmonic mean (best), or the smallest one within "
                   "one standard error of it (gentle)",
                   {"best", "gentle"});
  table.add("erasure.target_efficacy", options.target_efficacy,
            "of search = target: the efficacy wanted on the train questions; a concept that does "
            "not reach it within the gates is edited as choice says, and is below_target",
            {0.01, 1});
  table.add("erasure.tolerance", options.tolerance,
            "of search = target: how exactly the smallest strength is found, relative to it",
            {0.03, 10});
  table.add("erasure.evaluations", options.evaluations,
            "of search = target: strengths tried at most, a concept", {1, 100});
  table.add("erasure.min_general", options.min_general,
            "gate of a cell: least share of the general questions' figure that must be left",
            {0, 1});
  table.add("erasure.min_specificity", options.min_specificity,
            "gate of a cell: least specificity, so that neighbours are not erased with the "
            "concept; 0: none",
            {0, 1});
  table.add("erasure.min_coherence", options.min_coherence,
            "gate of a cell: least coherence, and least of each of its parts, fluency and "
            "non-repetition",
            {0, 1});
  table.add("erasure.back_off", options.back_off,
            "common factors tried for the joint edit, in this order", {0.0001, 1000});
  table.add("erasure.joint_min_general", options.joint_min_general,
            "gate of the joint edit: least share of the general questions' figure", {0, 1});
  table.add("erasure.joint_min_coherence", options.joint_min_coherence,
            "gate of the joint edit: least coherence", {0, 1});
  table.add_choice("erasure.shared_tokens", options.shared_tokens,
                   "a token that several concepts edit, near-duplicates apart, gets the sum of "
                   "their edits (edit), "
                   "the strongest only, or none (skip)",
                   {"edit", "strongest", "skip"});
}

Edits run(const Inputs& inputs, const Options& options, cluster::Context& context) {
  Run(inputs, options, context).travel();
  return Edits(context.run_directory / "edits.h5");
}

}  // namespace quench::erasure
