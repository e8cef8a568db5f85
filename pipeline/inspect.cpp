// inspect: one concept of a run. Starts no MPI, loads no weights.
#include <algorithm>
#include <cstdio>
#include <iostream>
#include <numeric>

#include "cluster/store.hpp"
#include "model/tokenizer.hpp"
#include "pipeline/command_line.hpp"
#include "pipeline/saved_run.hpp"
#include "stages/dictionary/dictionary.hpp"
#include "stages/erasure/grid.hpp"
#include "stages/evaluation/evaluation.hpp"
#include "stages/report/text_table.hpp"
#include "stages/selection/selection.hpp"

namespace quench::pipeline {

namespace po = boost::program_options;

namespace {

std::string fixed(double value, int decimals = 2) {
  char text[32];
  std::snprintf(text, sizeof text, "%.*f", decimals, value);
  return text;
}

// One line of a token's text: what a terminal must not interpret is escaped.
std::string visible(const std::string& piece) {
  std::string out;
  for (const unsigned char c : piece) {
    if (c >= 0x20 && c != 0x7F) {
      out += static_cast<char>(c);
    } else {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\x%02x", c);
      out += escaped;
    }
  }
  return "'" + out + "'";
}

// A concept of a run, with what is needed to show it.
class Inspector {
 public:
  Inspector(const SavedRun& run, const std::string& name, std::int64_t most)
      : run_(run),
        corpus_(run.file("corpus.h5")),
        concept_(SavedRun::find(corpus_, name)),
        tokenizer_(model::Tokenizer::from_file(run.model_directory() / "tokenizer.json")),
        most_(most) {}

  void print() const {
    std::cout << corpus_.name(concept_) << "\n  identity " << corpus_.hash(concept_).substr(0, 16)
              << ", " << corpus_.frequencies(concept_).sentences << " sentences\n";
    if (run_.has("baseline.h5")) print_knowledge();
    if (run_.has("selection.h5")) print_selection();
    if (run_.has("edits.h5")) print_cells();
    if (run_.has("evaluation.h5")) print_scores();
  }

 private:
  std::string token(std::int32_t id) const {
    return visible(tokenizer_.decode(std::vector<std::int32_t>{id}, false));
  }

  void print_knowledge() const {
    const auto known = evaluation::read_knowledge(run_.file("baseline.h5"))[concept_];
    std::cout << "  base margin " << fixed(known.margin.value) << " ["
              << fixed(known.margin.interval.low) << ", " << fixed(known.margin.interval.high)
              << "]: " << (known.known ? "known to the model" : "not shown to be known") << "\n";
  }

  void print_selection() const {
    const cluster::StoreReader store(run_.file("selection.h5"), "selection", selection::schema);
    const selection::Selection selection(run_.file("selection.h5"));
    const auto selected = selection.selected(concept_);
    const auto contrast = store.read<double>("features/contrast");
    const auto counts = store.read<std::int64_t>("concepts/feature_count");
    const auto first = std::accumulate(counts.begin(), counts.begin() + concept_, std::int64_t{0});
    const auto factors = dictionary::Dictionaries(run_.file("dictionary.h5")).factors(concept_);
    std::cout << "\nfeatures: " << selected.features.size() << " of " << factors.rank
              << " are the concept's own; tokens: " << selected.tokens.size() << " are edited\n\n";
    report::TextTable table({"feature", "contrast", "strongest tokens"});
    for (const auto k : selected.features) {
      table.add_row({std::to_string(k), fixed(contrast[first + k]), strongest(factors, k)});
    }
    std::cout << table.text() << "\nedited tokens, by z-score\n  ";
    print_tokens(store);
  }

  std::string strongest(const Factors& factors, std::int64_t feature) const {
    const auto m = factors.per_feature();
    std::vector<std::int64_t> order(m);
    std::iota(order.begin(), order.end(), feature * m);
    std::ranges::sort(order, [&](auto a, auto b) {
      return std::abs(factors.coefficients[a]) > std::abs(factors.coefficients[b]);
    });
    std::string text;
    for (std::int64_t i = 0; i < std::min<std::int64_t>(8, m); ++i) {
      text += (i == 0 ? "" : " ") + token(factors.tokens[factors.rows[order[i]]]);
    }
    return text;
  }

  void print_tokens(const cluster::StoreReader& store) const {
    const cluster::Range row{concept_, concept_ + 1};
    const auto ids = store.read_ragged<std::int32_t>("tokens/ids", row)[0];
    const auto z = store.read_ragged<double>("tokens/z", row)[0];
    std::vector<std::size_t> order(ids.size());
    std::iota(order.begin(), order.end(), 0);
    std::ranges::stable_sort(order, [&](auto a, auto b) { return z[a] > z[b]; });
    const auto shown = std::min<std::size_t>(order.size(), most_);
    for (std::size_t i = 0; i < shown; ++i) {
      std::cout << token(ids[order[i]]) << " " << fixed(z[order[i]], 1) << "  ";
    }
    if (shown < order.size()) std::cout << "... " << order.size() - shown << " more (--tokens)";
    std::cout << "\n";
  }

  void print_cells() const {
    const cluster::StoreReader store(run_.file("edits.h5"), "erasure", erasure::schema);
    const erasure::Edits edits(run_.file("edits.h5"));
    const auto concepts = store.read<std::int64_t>("cells/concept");
    const auto strengths = store.read<double>("cells/strength");
    const auto passed = store.read<std::uint8_t>("cells/passed");
    const auto scores = store.read<double>("cells/scores");
    const auto columns = std::ssize(erasure::cell_figures());
    report::TextTable table(
        {"strength", "efficacy", "specificity", "coherence", "harmonic", "gates"});
    for (std::int64_t i = 0; i < std::ssize(concepts); ++i) {
      if (concepts[i] != concept_) continue;
      const double* row = scores.data() + i * columns;
      table.add_row({fixed(strengths[i]) + (strengths[i] == edits.strength(concept_) ? " *" : ""),
                     fixed(row[0]), fixed(row[1]), fixed(row[2]), fixed(row[6]),
                     passed[i] ? "passed" : "failed"});
    }
    std::cout << "\nstatus " << edits.status(concept_) << ", strength "
              << fixed(edits.strength(concept_)) << " (* chosen; train split)\n\n"
              << table.text();
  }

  void print_scores() const {
    const cluster::StoreReader store(run_.file("evaluation.h5"), "evaluation", evaluation::schema);
    report::TextTable table({"test split", "alone", "jointly"});
    const auto read = [&](const char* name) {
      return evaluation::from_row(
          store.read_rows<double>(name, cluster::Range{concept_, concept_ + 1}));
    };
    const auto alone = read("alone/scores");
    const auto joint = read("joint/scores");
    const auto cell = [](const Estimate& e) {
      return fixed(e.value) + " [" + fixed(e.interval.low) + ", " + fixed(e.interval.high) + "]";
    };
    std::vector<std::string> alone_cells;
    evaluation::Scores::for_each(
        alone, [&](const auto&, const Estimate& e) { alone_cells.push_back(cell(e)); });
    std::size_t i = 0;
    evaluation::Scores::for_each(joint, [&](const std::string& name, const Estimate& e) {
      table.add_row({name, alone_cells[i++], cell(e)});
    });
    std::cout << "\n" << table.text();
  }

  const SavedRun& run_;
  corpus::Corpus corpus_;
  std::int64_t concept_;
  model::Tokenizer tokenizer_;
  std::int64_t most_;
};

}  // namespace

ExitCode inspect_command(const Words& words) {
  CommandLine line{"quench inspect RUN --concept NAME",
                   "What a run found and did for one concept: features and their tokens, edited "
                   "tokens with\nz-scores, the grid over the strength, and the figures on the test "
                   "split.",
                   {},
                   {}};
  line.options.add_options()("run", po::value<std::string>()->required(), "run directory")(
      "concept", po::value<std::string>()->required(), "name or alias")(
      "tokens", po::value<std::int64_t>()->default_value(40), "edited tokens shown at most");
  line.positional.add("run", 1);
  const auto values = line.parse(words);
  if (!values) return ExitCode::done;
  const SavedRun run((*values)["run"].as<std::string>());
  Inspector(run, (*values)["concept"].as<std::string>(), (*values)["tokens"].as<std::int64_t>())
      .print();
  return ExitCode::done;
}

}  // namespace quench::pipeline
