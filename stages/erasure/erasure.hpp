#pragma once

#include <array>
#include <filesystem>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "cluster/store.hpp"
#include "cluster/task_runner.hpp"
#include "model/weights.hpp"
#include "stages/options.hpp"
#include "stages/schemas.hpp"
#include "stages/types.hpp"

// Stage erasure: the edit of each concept (methods 5), the strength that suits it, and the joint
// edit of all concepts in one model.
namespace quench::erasure {

inline constexpr std::int64_t schema = schemas::edits;

struct Options {
  std::vector<double> strengths = {0.5, 1,  2, 5,
                                   10,  20, 50};  // of the edit (delta): the grid, or its range
  std::string search = "grid";    // grid: all strengths | target: the smallest that reaches one
  std::string unknown = "leave";  // a concept that the base model does not know: leave | edit
  std::string choice = "gentle";  // of what was tried: best (highest harmonic mean) | gentle
                                  // (smallest strength within one standard error of it)
  double target_efficacy = 0.8;   // of search = target
  double tolerance = 0.1;         // of search = target: of the strength, relative
  std::int64_t evaluations = 8;   // of search = target: cells of a concept at most
  double min_general = 0.9;  // gate: least share of the general questions' figure that must be left
  double min_specificity = 0.5;  // gate: least specificity; 0: none
  double min_coherence = 0.9;    // gate: least coherence, and least of each of its two parts
  std::vector<double> back_off = {
      1, 0.8, 0.6, 0.4, 0.3, 0.2, 0.1};  // common factors tried for the joint edit, in order
  double joint_min_general = 0.9;
  double joint_min_coherence = 0.9;
  std::string shared_tokens = "edit";  // a token that concepts of several groups edit: edit (sum of
                                       // the edits) | strongest (longest one only) | skip (none)
};
void describe(Options& options, OptionTable& table);  // keys erasure.*

// Resamples that intervals and standard errors of cells are of: an error is known to a twentieth of
// itself.
inline constexpr std::int64_t resamples = 200;

// The figures of a cell that are told with an interval: efficacy, specificity, coherence,
// general_left, own_left, similar_left, harmonic.
inline constexpr std::size_t told_figures = 7;
using ToldFigures = std::array<double, told_figures>;

// How well a figure is known: its 95% interval (NaN: not measured), and the items, or of a mean the
// concepts, that it is of.
struct Spread {
  double low = std::numeric_limits<double>::quiet_NaN();
  double high = std::numeric_limits<double>::quiet_NaN();
  std::int64_t n = 0;
};

// What the scorer says of one cell, on the train split. NaN: not measured.
struct CellScores {
  double efficacy = 0, specificity = 0, coherence = 0, general_left = 0, own_left = 0,
         similar_left = 0;
  double harmonic = 0;  // of efficacy, specificity and coherence
  std::int64_t reused = 0, measured = 0;
  // What coherence is made of: what is left of fluency, and of non-repetition.
  double fluency = std::numeric_limits<double>::quiet_NaN();
  double variety = std::numeric_limits<double>::quiet_NaN();
  std::array<Spread, told_figures> spreads = {};
  // Of resamples of the items, the same resamples in every cell of a concept; empty: none were
  // made.
  std::vector<ToldFigures> draws = {};

  ToldFigures told() const {
    return {efficacy, specificity, coherence, general_left, own_left, similar_left, harmonic};
  }
};

// Cells that the search for a concept's strength measures at most.
std::int64_t most_cells(const Options& options);

// What coefficients are solved again with.
struct Refit {
  bool selected = false;  // those of selected tokens too, not of variants alone
  double ridge = 1e-4;    // of the fit
  // A row of the input embedding, as stored.
  std::function<std::span<const float>(std::int32_t)> row;
};

struct Inputs {
  std::int64_t concepts = 0;
  std::function<std::string(std::int64_t)> concept_hash;
  std::function<Factors(std::int64_t)> factors;
  std::function<Selected(std::int64_t)> selected;
  std::function<std::int64_t(std::int64_t)> group;  // near-duplicates: shared tokens are no dispute
  std::function<Refit(std::int64_t)> refit;
  std::vector<bool> known;  // the base model knows the concept; of others Options::unknown tells
  double scale = 1;         // embedding scale
  // Scores a concept's own edit at a strength. Collective over the group. Not a sibling's header:
  // passed in by the pipeline.
  std::function<CellScores(cluster::Communicator& group, std::int64_t concept_index,
                           const model::RowDeltas&, double strength)>
      score_alone;
  // Scores a joint edit on one concept's train probes (and the shared ones); the mean over concepts
  // decides. Draw b is the mean over times[b] draws of the concept's items beside one of the shared
  // ones: as often as resample b of the concepts has this one.
  std::function<CellScores(cluster::Communicator& group, std::int64_t concept_index,
                           const model::RowDeltas& joint, double factor,
                           std::span<const std::int64_t> times)>
      score_joint;
  std::string inputs_hash, run_id;
};

// c_i = sum over selected features of G_ik f_k for each selected token, in stored units
// (methods 5.2, divided by the embedding scale). G_ik is the fit's, or with Refit::selected solved
// again: the ridge regression of the token's row on the features of its support, F fixed. A variant
// takes the support of its stem, and its own row.
model::RowDeltas unit_edit(const Factors& factors, const Selected& selected, double scale,
                           const Refit& refit);

// One concept's part in a joint edit.
struct Share {
  model::RowDeltas edit;  // unit strength
  double strength = 0;    // 0: takes no part
  std::int64_t group = 0;
};
struct Joint {
  model::RowDeltas edit;
  // Of each share: tokens that a concept of another group edits too, and those of them whose edit
  // the rule dropped (ids, ascending).
  std::vector<std::vector<std::int32_t>> shared, dropped;
};
// The joint edit: each concept's unit edit at its strength, combined by the rule for shared tokens.
// Within a group edits of a token always add up (strongest: the longest counts). Depends on the
// set, so it is replayed from the stored edits.
Joint combine(std::span<const Share> shares, const std::string& rule);

// Two concepts that edit some of the same tokens.
struct Overlap {
  std::int64_t first = 0, second = 0;  // first < second
  std::int64_t tokens = 0;             // that both edit
  double cosine = 0;                   // of the two edits, over all rows
  friend bool operator==(const Overlap&, const Overlap&) = default;
};
// All such pairs, in order.
std::vector<Overlap> overlaps(std::span<const Share> shares);

// Whether a concept of this status is edited, and counts in means.
bool is_edited(const std::string& status);

// Reads edits.h5.
class Edits {
 public:
  explicit Edits(const std::filesystem::path& file);
  std::int64_t concepts() const;
  model::RowDeltas edit(
      std::int64_t concept_index) const;              // unit strength; empty where there is none
  double strength(std::int64_t concept_index) const;  // 0: not edited
  // ok, below_target (edited, but no strength within the gates reaches the target), gated
  // (no strength passed the gates), no_effect (those that passed erase nothing), no_features,
  // unknown_to_model, failed.
  const std::string& status(std::int64_t concept_index) const;
  double joint_factor() const;
  // The joint edit of the given concepts (indices), at the common factor (pass to make_overlay with
  // strength 1).
  model::RowDeltas joint(std::span<const std::int64_t> concepts) const;

 private:
  cluster::StoreReader store_;
  std::string rule_;
  std::vector<double> strengths_;
  std::vector<std::string> status_;
  std::vector<std::int64_t> groups_;
};

// Collective over the world. Writes run_directory/edits.h5: edits, chosen strengths, every cell's
// scores, the joint back-off's scores.
Edits run(const Inputs& inputs, const Options& options, cluster::Context& context);

}  // namespace quench::erasure
