// Running text: perplexity, and what the model knows by heart, of a concept's held-out paragraphs
// and of the neutral text. For y the tokens after the context, predicted one by one from what
// stands before them: exact memorisation is the share that are the model's first choice (Tirumala
// et al. 2022); extraction strength is 1 - k / |y| for the least k such that greedy generation from
// the first k tokens gives all of the rest (Carlini et al. 2021): the share of y in its longest
// ending of first choices.
#include <algorithm>

#include "stages/tasks/task.hpp"

namespace quench::tasks {

namespace {

constexpr std::size_t longest_text = 256;  // tokens, prefix included

void add_probe(const std::string& text, Subset subset, const Making& making,
               std::vector<Probe>& probes) {
  Tokens tokens = making.prompts.with_prefix(text);
  tokens.resize(std::min(tokens.size(), longest_text));
  const auto context = std::max<std::size_t>(making.prompts.prefix_size(), 1);
  if (tokens.size() <= context) return;  // nothing is left to score
  const auto cut = tokens.begin() + static_cast<std::ptrdiff_t>(context);
  Probe probe = make_probe(ProbeKind::text, subset, Split::test);
  probe.context.assign(tokens.begin(), cut);
  probe.continuations.emplace_back(cut, tokens.end());
  probes.push_back(std::move(probe));
}

class Text : public Task {
 public:
  ProbeKind kind() const override { return ProbeKind::text; }
  std::string name() const override { return "text"; }

  void of_concept(const corpus::Concept& record, const Making& making,
                  std::vector<Probe>& probes) const override {
    const auto held_out = corpus::held_out_paragraphs(record, making.held_out_paragraphs);
    for (const auto& paragraph : held_out) add_probe(paragraph, Subset::own, making, probes);
  }
  void of_shared(const corpus::SharedText& shared, const Making& making,
                 std::vector<Probe>& probes) const override {
    for (const auto& text : shared.neutral) add_probe(text, Subset::general, making, probes);
  }

  Measurement of_scores(const Probe&,
                        std::span<const model::ContinuationScore> scores) const override {
    const auto& s = scores.front();
    return {{static_cast<float>(-s.logprob), static_cast<float>(s.tokens),
             static_cast<float>(s.first_choices), static_cast<float>(s.ending)},
            {},
            false};
  }

  std::vector<Subset> subsets() const override { return {Subset::own, Subset::general}; }
  std::vector<Number> numbers() const override {
    return {{"perplexity", true}, {"exact_memorisation"}, {"extraction_strength"}};
  }
  void read(const Probe&, const Measurement& measurement, const Reading&,
            std::span<Ratio> numbers) const override {
    const auto& v = measurement.values;
    if (v.size() >= 2) numbers[0] = {v[0], v[1]};
    for (std::size_t i = 2; i < v.size() && i < 4; ++i) numbers[i - 1] = {v[i] / v[1], 1};
  }
};

}  // namespace

const Task& text_task() {
  static const Text task;
  return task;
}

}  // namespace quench::tasks
