// Lettered questions (methods 7.1): by the likelihood of the four letters, which always gives one
// of them, or by generation and search for a letter, where an answer may be invalid.
#include <algorithm>

#include "model/tokenizer/pattern.hpp"
#include "model/tokenizer/unicode.hpp"
#include "stages/tasks/letter_order.hpp"
#include "stages/tasks/letter_reply.hpp"
#include "stages/tasks/task.hpp"

namespace quench::tasks {

namespace {

std::string lettered_text(const std::string& question, const std::vector<std::string>& options) {
  std::string text = "Choose the single best answer.\nQuestion: " + question + "\n\nChoices:\n";
  for (std::size_t i = 0; i < options.size(); ++i)
    text += std::string(1, static_cast<char>('A' + i)) + ". " + options[i] + "\n";
  return text + "\nAnswer only with one letter (A, B, C, or D) and no formatting.";
}

// A question as it is shown, and which letter is right.
struct Sheet {
  std::string text;
  std::int32_t correct = 0;
};

Sheet sheet_of(const corpus::Question& question, const std::vector<std::int64_t>& order) {
  std::vector<std::string> shown;
  Sheet sheet;
  for (const auto place : order) {
    if (place == question.correct()) sheet.correct = static_cast<std::int32_t>(shown.size());
    shown.push_back(question.options[static_cast<std::size_t>(place)]);
  }
  sheet.text = lettered_text(question.question, shown);
  return sheet;
}

class Letter : public Task {
 public:
  ProbeKind kind() const override { return ProbeKind::letter; }
  std::string name() const override { return "letter"; }

  void of_concept(const corpus::Concept& record, const Making& making,
                  std::vector<Probe>& probes) const override {
    const auto add = [&](const std::vector<corpus::Question>& questions, Subset subset) {
      for (const auto& question : questions) {
        if (!is_wanted(question, making)) continue;
        const auto order =
            letter_order(making.letter_order, record.hash, record.name, subset, question);
        probes.push_back(probe_of(question, subset, order, "", making));
      }
    };
    add(record.own, Subset::own);
    add(record.similar, Subset::similar);
  }

  void of_shared(const corpus::SharedText& shared, const Making& making,
                 std::vector<Probe>& probes) const override {
    const auto order_of = [&](const corpus::Question& question) {
      return letter_order(making.letter_order, "general", "", Subset::general, question);
    };
    for (const auto& question : shared.general) {
      if (!is_wanted(question, making)) continue;
      std::string head;
      for (const auto* example : examples_for(question, shared, making.shots)) {
        const auto sheet = sheet_of(*example, order_of(*example));
        head += sheet.text + "\n\nAnswer: " + static_cast<char>('A' + sheet.correct) + "\n\n";
      }
      probes.push_back(probe_of(question, Subset::general, order_of(question), head, making));
    }
  }

  std::optional<Generation> generation(const Probe& probe, const Asking& asking) const override {
    if (!asking.letter_generated) return std::nullopt;
    return Generation{
        probe.subset == Subset::general ? asking.general_letter_tokens : asking.letter_tokens,
        false};
  }
  Measurement of_scores(const Probe&,
                        std::span<const model::ContinuationScore> scores) const override {
    Measurement measurement;
    for (const auto& score : scores)
      measurement.values.push_back(static_cast<float>(score.logprob));
    return measurement;
  }
  Measurement of_answer(const Probe& probe, Tokens answer, const model::ContinuationScore&,
                        const Asking& asking) const override {
    std::string text = asking.tokenizer->decode(answer);
    if (asking.cut_response && !asking.cut_mark.empty()) {
      Tokens all = probe.context;
      all.insert(all.end(), answer.begin(), answer.end());
      text = behind_mark(asking.tokenizer->decode(all), asking.cut_mark);
    }
    return {{static_cast<float>(first_letter(text))}, std::move(answer), false};
  }

  std::vector<Subset> subsets() const override {
    return {Subset::own, Subset::similar, Subset::general};
  }
  std::vector<Number> numbers() const override { return {{"letter_accuracy"}, {"letter_valid"}}; }
  void read(const Probe& probe, const Measurement& measurement, const Reading& reading,
            std::span<Ratio> numbers) const override {
    const auto& values = measurement.values;
    if (values.empty()) return;
    if (values.size() > 1) {  // likelihoods
      numbers[0] = {share_right(probe, measurement), 1};
      numbers[1] = {1, 1};
      return;
    }
    const bool valid = values[0] >= 0;
    const double guess = reading.invalid_is_wrong ? 0 : 0.25;
    const bool right = static_cast<std::int32_t>(values[0]) == probe.correct;
    numbers[0] = {!valid ? guess : right ? 1.0 : 0.0, 1};
    numbers[1] = {valid ? 1.0 : 0.0, 1};
  }

 private:
  static bool is_wanted(const corpus::Question& question, const Making& making) {
    return making.letter && (question.split == Split::test || making.train("letter"));
  }

  static Probe probe_of(const corpus::Question& question, Subset subset,
                        const std::vector<std::int64_t>& order, const std::string& head,
                        const Making& making) {
    const auto& prompts = making.prompts;
    Probe probe = make_probe(ProbeKind::letter, subset, question.split);
    const auto sheet = sheet_of(question, order);
    probe.correct = sheet.correct;
    probe.context =
        prompts.prompt(head + (prompts.is_chat() ? sheet.text : sheet.text + "\n\nAnswer:"));
    for (const char* letter : {"A", "B", "C", "D"})
      probe.continuations.push_back(prompts.continuation(letter));
    return probe;
  }
};

}  // namespace

int first_letter(const std::string& text) {
  // What Python's \b[A-D]\b finds: letters and digits of every script, and _, are word characters,
  // quotation marks, dashes and spaces beyond ASCII are not.
  namespace tokenization = model::tokenization;
  static const auto stands_alone =
      tokenization::Pattern::regex(R"((?<![\p{L}\p{N}_])[A-D](?![\p{L}\p{N}_]))");
  const auto whole = tokenization::replace_invalid(text);
  const auto found = stands_alone.find_all(whole);
  return found.empty() ? -1 : whole[found.front().begin] - 'A';
}

std::string behind_mark(const std::string& text, const std::string& mark) {
  auto at = text.find(mark);
  if (at != std::string::npos) return text.substr(at + mark.size());
  const auto word = mark.substr(0, mark.find('\n'));  // without the line break
  at = text.find(word);
  return at == std::string::npos ? text : text.substr(at + word.size());
}

const Task& letter_task() {
  static const Letter task;
  return task;
}

}  // namespace quench::tasks
