#include "stages/corpus/corpus.hpp"

#include <algorithm>
#include <limits>

#include "cluster/error.hpp"
#include "cluster/hash.hpp"
#include "cluster/log.hpp"
#include "stages/corpus/corpus_file.hpp"
#include "stages/corpus/pieces.hpp"

namespace quench::corpus {
namespace {

// One a concept, and the shared text last.
std::vector<cluster::Task> make_tasks(const Inputs& inputs, const PieceMaker& maker) {
  const auto key = [&](const std::string& text_hash) {
    return cluster::Sha256()
        .field(stage_name)
        .field(std::to_string(schema))
        .field(text_hash)
        .field(maker.identity())
        .hex();
  };
  std::vector<cluster::Task> tasks;
  for (const auto& entry : inputs.concepts)
    tasks.push_back({key(entry.hash), static_cast<double>(entry.bytes), "'" + entry.name + "'"});
  double shared_bytes = 1;
  for (const auto& text : inputs.shared->neutral) shared_bytes += static_cast<double>(text.size());
  tasks.push_back({key(inputs.shared->hash), shared_bytes, "shared text"});
  return tasks;
}

void throw_failures(const cluster::TaskResults& results, const Inputs& inputs) {
  Problems problems;
  for (std::int64_t i = 0; i < results.size(); ++i) {
    const bool is_shared = i + 1 == results.size();
    if (const auto failure = results.failure(i); !failure.empty())
      problems.add(is_shared ? "shared text" : "'" + inputs.concepts[i].name + "'", failure);
  }
  problems.throw_if_any<DataError>("catalog " + inputs.catalog.string() + " cannot be tokenised");
}

}  // namespace

void describe(Options& options, OptionTable& table) {
  table.add_choice("corpus.prompt_style", options.prompt_style,
                   "how a model is asked: through its chat template where it has one (auto), "
                   "always, or as plain text",
                   {"auto", "chat", "plain"});
  table.add("corpus.letter", options.letter, "make lettered questions");
  table.add("corpus.open", options.open, "make open questions");
  table.add("corpus.train_forms", options.train_forms,
            "forms that train questions are put in too, beside choice: letter, open");
  table.add_choice("corpus.letter_order", options.letter_order,
                   "order of lettered options: keyed by the question, or as the paper's code "
                   "shuffles a concept's and leaves general ones",
                   {"keyed", "paper"});
  table.add("corpus.shots", options.shots,
            "examples (split dev of general.jsonl) before a general question", {0, 100});
  table.add(
      "corpus.held_out_paragraphs", options.held_out_paragraphs,
      "paragraphs of a concept, the last ones and a third at most, whose perplexity is measured "
      "and that no attack trains on",
      {0, 1e6});
  table.add("corpus.max_concepts", options.max_concepts,
            "the first so many of the concepts chosen; 0: all",
            {0, std::numeric_limits<double>::infinity()});
  table.add("corpus.concepts", options.concepts,
            "names (or aliases) of the concepts; empty: the whole catalog");
}

std::vector<ConceptEntry> choose_concepts(const std::vector<ConceptEntry>& index,
                                          const Options& options) {
  Problems problems;
  const auto named =
      names_of(index, "the catalog").find_all(options.concepts, "corpus.concepts", problems);
  problems.throw_if_any<ConfigError>("unknown concepts:");

  std::vector<ConceptEntry> chosen;
  const auto most = static_cast<std::size_t>(options.max_concepts);
  for (const auto c : named) {
    if (most > 0 && chosen.size() == most) break;
    chosen.push_back(index[c]);
  }
  return chosen;
}

Corpus run(const Inputs& inputs, const Options& options, cluster::Context& context) {
  const PieceMaker maker(inputs, options);
  if (context.is_root()) {
    const auto missing = tasks::missing_examples(*inputs.shared, options.shots);
    if (!missing.empty()) cluster::log_warning(missing);
  }
  const auto tasks = make_tasks(inputs, maker);
  const auto work = [&](std::int64_t i, cluster::Communicator& group) -> std::string {
    if (group.rank() != 0) return {};  // only the leader's payload is kept
    if (i == static_cast<std::int64_t>(inputs.concepts.size()))
      return to_payload(maker.of_shared(*inputs.shared));
    return to_payload(maker.of_concept(read_concept(inputs.catalog, inputs.concepts[i])));
  };
  const auto results = cluster::run_tasks(context, stage_name, tasks, work);
  throw_failures(results, inputs);
  const auto file = context.run_directory / "corpus.h5";
  write_corpus(context.world(), file, inputs,
               [&](std::int64_t i) { return from_payload(results.read(i)); });
  cluster::remove_journals(context, stage_name);
  return Corpus(file);
}

}  // namespace quench::corpus
