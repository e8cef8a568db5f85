// catalog check, catalog stats.
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <numeric>

#include "cluster/collectives.hpp"
#include "model/weights.hpp"
#include "pipeline/collectively.hpp"
#include "pipeline/command_line.hpp"
#include "pipeline/inputs.hpp"
#include "pipeline/model_directory.hpp"
#include "stages/corpus/catalog.hpp"
#include "stages/corpus/corpus.hpp"
#include "stages/corpus/pieces.hpp"
#include "stages/evaluation/evaluation.hpp"
#include "stages/report/text_table.hpp"

namespace quench::pipeline {

namespace po = boost::program_options;

namespace {

ExitCode check(const std::filesystem::path& catalog) {
  const auto problems = corpus::check_catalog(catalog);
  for (const auto& problem : problems) std::cout << corpus::to_text(problem) << "\n";
  if (problems.empty()) {
    const auto index = corpus::index_catalog(catalog);
    const auto sensitive = std::ranges::count_if(index, &corpus::ConceptEntry::sensitive);
    std::cout << "good: " << index.size() << " concepts";
    if (sensitive > 0) std::cout << ", " << sensitive << " of them sensitive";
    std::cout << "\n";
    return ExitCode::done;
  }
  std::cout << problems.size() << " problems\n";
  return ExitCode::usage;
}

// Half the width of a 95% interval of a share near one half, from n questions.
double half_width(std::int64_t questions) {
  return questions == 0 ? 1 : 1.96 * std::sqrt(0.25 / static_cast<double>(questions));
}

// What a model makes of a concept.
struct ModelView {
  std::int64_t tokens = 0;    // of sentences, each counted once a sentence
  std::int64_t distinct = 0;  // token ids
  Estimate margin;            // of the own questions, both splits
};

// Everything that it takes to look at concepts with a model.
class Viewer {
 public:
  Viewer(cluster::Session& session, const std::filesystem::path& path)
      : directory_(open_fitting(session, path)),
        weights_(model::load_weights(session.node(), directory_.config, directory_.checkpoint)),
        model_(directory_.config, weights_.weights),
        meter_(model_, directory_.tokenizer, {}),
        self_(cluster::make_self_communicator()) {
    inputs_.tokenizer = &directory_.tokenizer;
    inputs_.chat = directory_.chat;
  }

  ModelView view(const corpus::Concept& concept_text) {
    const auto piece = corpus::PieceMaker(inputs_, options_).of_concept(concept_text);
    std::vector<Probe> own;
    for (const auto& probe : piece.probes) {
      if (probe.kind == ProbeKind::choice && probe.subset == Subset::own) own.push_back(probe);
    }
    const auto said = meter_.measure(*self_, model_, own, {});
    std::vector<evaluation::Pair> pairs;
    for (std::size_t i = 0; i < own.size(); ++i) pairs.push_back({&own[i], &said[i], &said[i]});
    const auto& counts = piece.frequencies.counts;
    return {std::accumulate(counts.begin(), counts.end(), std::int64_t{0}), std::ssize(counts),
            evaluation::base_margin(pairs, 1000, concept_text.hash)};
  }

 private:
  // The model opened, and found to fit into memory.
  static ModelDirectory open_fitting(cluster::Session& session, const std::filesystem::path& path) {
    auto directory = open_model(path);
    check_model_memory(session, directory.config);
    return directory;
  }

  ModelDirectory directory_;
  model::SharedWeights weights_;
  model::Transformer model_;
  evaluation::Meter meter_;
  std::unique_ptr<cluster::Communicator> self_;
  corpus::Inputs inputs_;
  corpus::Options options_;
};

std::string fixed(double value, const char* format = "%.2f") {
  char text[32];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

void print_shared(const std::filesystem::path& catalog) {
  const auto shared = corpus::read_shared(catalog);
  std::cout << "\nshared: " << shared.neutral.size() << " neutral sentences, "
            << shared.general.size() << " general questions, " << shared.instructions.size()
            << " instructions\n";
}

std::vector<std::string> row_of(const corpus::Concept& concept_text, Viewer* viewer) {
  const auto tests = [](const std::vector<corpus::Question>& questions) {
    return std::ranges::count_if(questions, [](const auto& q) { return q.split == Split::test; });
  };
  std::vector<std::string> row = {concept_text.name,
                                  std::to_string(concept_text.sentences.size()),
                                  std::to_string(concept_text.own.size()),
                                  std::to_string(concept_text.similar.size()),
                                  std::to_string(concept_text.paragraphs.size()),
                                  "±" + fixed(half_width(tests(concept_text.own)))};
  if (viewer != nullptr) {
    const auto view = viewer->view(concept_text);
    row.insert(row.end(), {std::to_string(view.tokens), std::to_string(view.distinct),
                           fixed(view.margin.value, "%+.2f") + " [" +
                               fixed(view.margin.interval.low, "%+.2f") + ", " +
                               fixed(view.margin.interval.high, "%+.2f") + "]",
                           view.margin.interval.low > 0 ? "yes" : "not shown"});
  }
  return row;
}

ExitCode stats(const std::filesystem::path& catalog, const std::string& model_path) {
  cluster::Session session(cluster::SessionOptions{});
  return collectively(session, [&] {
    at::set_num_threads(session.topology().threads);
    const auto index = corpus::index_catalog(catalog);
    std::unique_ptr<Viewer> viewer;
    if (!model_path.empty()) viewer = std::make_unique<Viewer>(session, model_path);
    report::TextTable table({"concept", "sentences", "own", "similar", "paragraphs", "accuracy"});
    if (viewer) table.add_columns({"tokens", "distinct", "base margin (95%)", "known"});
    for (const auto& entry : index) {
      table.add_row(row_of(corpus::read_concept(catalog, entry), viewer.get()));
    }
    if (session.world().rank() != 0) return ExitCode::done;
    std::cout
        << table.text()
        << "\naccuracy: half width of the 95% interval that the test questions allow near 50%\n";
    if (viewer) {
      std::cout
          << "known: whether the margin of the right answers is above 0 beyond its interval\n";
    }
    print_shared(catalog);
    return ExitCode::done;
  });
}

}  // namespace

ExitCode catalog_command(const Words& words) {
  CommandLine line{
      "quench catalog check|stats DIR [--model M]",
      "check: every bad record, with file, line and field; exit code 64 when there is "
      "one.\nstats: what the catalog holds and how precise its questions can be; with a "
      "model also\ntokens, and which concepts the model knows at all.",
      {},
      {}};
  line.options.add_options()("action", po::value<std::string>()->required(), "check or stats")(
      "directory", po::value<std::string>()->required(), "catalog directory")(
      "model", po::value<std::string>()->default_value(""), "model directory, for stats");
  line.positional.add("action", 1).add("directory", 1);
  const auto values = line.parse(words);
  if (!values) return ExitCode::done;
  const auto action = (*values)["action"].as<std::string>();
  const auto directory = (*values)["directory"].as<std::string>();
  if (action == "check") return check(directory);
  if (action == "stats") return stats(directory, (*values)["model"].as<std::string>());
  throw ConfigError("catalog " + action + ": expected check or stats");
}

}  // namespace quench::pipeline
