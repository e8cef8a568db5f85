#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "stages/task_list.hpp"

// What stages hand to each other. Plain data; each stage's own types stay in its folder.
namespace quench {

enum class Subset : std::uint8_t {
  own,
  similar,
  general
};  // the concept's own questions, its neighbours', everybody's
enum class Split : std::uint8_t { train, test };  // chosen on, reported on

// What is asked of a model: which task (stages/tasks) a probe is of. A task that is added takes the
// next number.
enum class ProbeKind : std::uint8_t {
#define QUENCH_KIND(name) name,
  QUENCH_TASKS(QUENCH_KIND)
#undef QUENCH_KIND
};

// One measurable item, tokenised. Identity is its place in the corpus (Corpus numbers them, concept
// by concept, shared ones last).
struct Probe {
  std::int64_t id = 0;
  ProbeKind kind = ProbeKind::choice;
  Subset subset = Subset::own;
  Split split = Split::train;
  std::int32_t correct = 0;           // choice, letter: which continuation is right
  std::vector<std::int32_t> context;  // prompt; for text: its first token
  std::vector<std::vector<std::int32_t>> continuations;  // options, letters, or the rest of a text
  std::vector<std::string> accepted;                     // open: answers that count as right
  std::string asked;  // open, instruction: the question or instruction alone, as the catalog has it
};

// What one model said to one probe; its task knows what the values are.
struct Measurement {
  std::vector<float> values;
  std::vector<std::int32_t> answer;  // generated ids, where the model answers freely
  bool reused = false;               // taken from the base model, whose result it exactly is
};

// How often tokens occur in a body of sentences.
struct DocumentFrequencies {
  std::int64_t sentences = 0;
  std::vector<std::int32_t> ids;     // ascending, distinct; no special tokens
  std::vector<std::int32_t> counts;  // sentences that hold the token, >= 1
};

// A sparse factorisation A ~ F G^T of the embedding rows of `tokens` (methods 3.1), in the scaled
// space of the model.
struct Factors {
  std::vector<std::int32_t> tokens;  // ids of A's columns, ascending: n
  std::int64_t width = 0;            // d
  std::int64_t rank = 0;             // K
  std::vector<float> features;       // F^T, [K, d]
  std::vector<std::int32_t> rows;    // G by column: [K, m] indices into tokens, ascending a column
  std::vector<float> coefficients;   // [K, m]
  std::int64_t per_feature() const {
    return rank == 0 ? 0 : static_cast<std::int64_t>(rows.size()) / rank;
  }
};

// Features of the MLP of one layer (methods 3.2): A ~ F G^T, the columns of A the inputs of its
// down projection at positions of a concept's sentences and of the neutral text. F is sparse and
// signed, G >= 0.
struct NeuronFeatures {
  std::int64_t width = 0;  // neurons: d_mlp
  std::vector<std::int64_t> offsets{
      0};                             // [K + 1]: feature k has entries offsets[k] .. offsets[k+1]
  std::vector<std::int32_t> neurons;  // of each entry, ascending a feature
  std::vector<float> values;          // of each entry: F
  // [K]: means of G over the positions of the concept's sentences and of the neutral text, and the
  // former over the latter (methods 4.2).
  std::vector<double> mean_concept, mean_neutral, ratio;
  std::int64_t rank() const { return static_cast<std::int64_t>(offsets.size()) - 1; }
};

// A token that the concept's sentences happen not to hold, beside a selected one: it has no
// coefficients, and is edited by the features of its stem.
struct Variant {
  std::int32_t token = 0, stem = 0;
  friend bool operator==(const Variant&, const Variant&) = default;
};

// The features and tokens that are a concept's own.
struct Selected {
  std::vector<std::int32_t> features;  // ascending
  std::vector<std::int32_t> tokens;  // ids, ascending; each has a coefficient in a selected feature
  std::vector<Variant> variants = {};  // by token, ascending; stems are among `tokens`
};

struct Interval {
  double low = 0, high = 0;
};
// A figure with its 95% interval (equal to the figure where none is estimated).
struct Estimate {
  double value = 0;
  Interval interval;
  std::int64_t n = 0;  // items (or concepts) that it is of; 0: not told
};

}  // namespace quench
