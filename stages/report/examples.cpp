#include "stages/report/examples.hpp"

#include <algorithm>
#include <iterator>

namespace quench::report {

using cluster::Range;
using nlohmann::json;

namespace {

// corpus.h5 (docs/file-formats.md).
constexpr std::uint8_t choice_kind = 0, open_kind = 2, instruction_kind = 4;
constexpr std::uint8_t own_subset = 0, similar_subset = 1, general_subset = 2;
constexpr std::uint8_t train_split = 0, test_split = 1;
constexpr std::int64_t few = 20;  // prompts that show what all have in common

std::string trimmed(const std::string& text) {
  constexpr const char* blanks = " \t\r\n";
  const auto begin = text.find_first_not_of(blanks);
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(blanks) + 1 - begin);
}

// The question itself, out of the words around it (docs/catalog.md, "How a catalog is put to a
// model").
std::string question_in(const std::string& prompt) {
  const std::string before = "Question: ", behind = "\nAnswer:";
  const auto end = prompt.rfind(behind);
  const auto begin = prompt.rfind(before, end);
  if (begin == std::string::npos || end == std::string::npos) return trimmed(prompt);
  return trimmed(prompt.substr(begin + before.size(), end - begin - before.size()));
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::size_t begin = 0;
  for (auto end = text.find('\n'); end != std::string::npos; end = text.find('\n', begin)) {
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  lines.push_back(text.substr(begin));
  return lines;
}

// How many of the lines, counted from one end, are the same in all texts.
template <typename At>
std::size_t common_lines(const std::vector<std::vector<std::string>>& texts, const At& at) {
  std::size_t shortest = texts.front().size();
  for (const auto& lines : texts) shortest = std::min(shortest, lines.size());
  std::size_t count = 0;
  const auto is_common = [&](std::size_t i) {
    return std::ranges::all_of(
        texts, [&](const auto& lines) { return at(lines, i) == at(texts.front(), i); });
  };
  while (count < shortest && is_common(count)) ++count;
  return count;
}

}  // namespace

std::vector<std::string> without_common_lines(const std::vector<std::string>& texts) {
  if (texts.size() < 2) return texts;
  std::vector<std::vector<std::string>> all;
  for (const auto& text : texts) all.push_back(lines_of(text));
  const auto first = common_lines(all, [](const auto& lines, std::size_t i) { return lines[i]; });
  const auto last = common_lines(
      all, [](const auto& lines, std::size_t i) { return lines[lines.size() - 1 - i]; });
  std::vector<std::string> rest;
  for (const auto& lines : all) {
    std::string text;
    for (std::size_t i = first; i + last < lines.size(); ++i)
      text += (i == first ? "" : "\n") + lines[i];
    rest.push_back(text);
  }
  return rest;
}

Examples::Examples(const AnswerFiles& files, std::int64_t most)
    : files_(files), most_(most), offsets_(files.corpus.read<std::int64_t>("probe_offsets")) {}

json Examples::of_concept(std::int64_t concept_index, bool hidden) const {
  json list = json::array();
  for (const std::uint8_t subset : {own_subset, similar_subset}) {
    auto probes = first_of(concept_index, {open_kind, subset, test_split}, most_);
    const bool chosen = probes.empty();
    if (chosen) probes = first_of(concept_index, {choice_kind, subset, test_split}, most_);
    for (const auto probe : probes) {
      json example = {{"subset", subset == own_subset ? "own" : "similar"},
                      {"prompt", question_in(prompt(probe))}};
      if (chosen) {
        add_preferences(probe, example);
      } else {
        add_answers(probe, example);
        add_accepted(probe, example);
      }
      if (hidden)
        for (const char* answer : {"accepted", "base", "erased"}) example.erase(answer);
      list.push_back(std::move(example));
    }
  }
  return list;
}

json Examples::of_instructions(bool hidden) const {
  const auto shared = std::ssize(offsets_) - 2;
  const auto probes = first_of(shared, {instruction_kind, general_subset, test_split}, most_);
  // What a template puts around a turn shows in any others, e.g. of the train split.
  auto prompts = prompts_of(probes);
  for (const auto split : {test_split, train_split})
    std::ranges::copy(prompts_of(first_of(shared, {instruction_kind, general_subset, split}, few)),
                      std::back_inserter(prompts));
  const auto bare = without_common_lines(prompts);
  json list = json::array();
  for (std::size_t i = 0; i < probes.size(); ++i) {
    json example;
    add_answers(probes[i], example);
    example.erase("base_right");
    example.erase("erased_right");
    if (hidden) example = json::object();
    const auto text = trimmed(bare[i]);  // nothing where there is but one instruction
    example["prompt"] = text.empty() ? trimmed(prompts[i]) : text;
    list.push_back(std::move(example));
  }
  return list;
}

// The piece's first items of the sort, of the test split those that the joint model answered.
std::vector<std::int64_t> Examples::first_of(std::int64_t piece, const Sort& sort,
                                             std::int64_t most) const {
  const auto at = static_cast<std::size_t>(piece);
  const Range ids{offsets_.at(at), offsets_.at(at + 1)};
  const auto kinds = files_.corpus.read_rows<std::uint8_t>("probes/kind", ids);
  const auto subsets_of = files_.corpus.read_rows<std::uint8_t>("probes/subset", ids);
  const auto splits = files_.corpus.read_rows<std::uint8_t>("probes/split", ids);
  const auto values = files_.evaluation.read_ragged<float>("joint/measurements/values", ids);
  std::vector<std::int64_t> found;
  for (std::size_t i = 0; i < kinds.size() && std::ssize(found) < most; ++i) {
    const bool fits =
        kinds[i] == sort.kind && subsets_of[i] == sort.subset && splits[i] == sort.split;
    if (fits && (sort.split != test_split || !values[i].empty()))
      found.push_back(ids.begin + static_cast<std::int64_t>(i));
  }
  return found;
}

std::vector<std::string> Examples::prompts_of(const std::vector<std::int64_t>& probes) const {
  std::vector<std::string> prompts;
  for (const auto probe : probes) prompts.push_back(prompt(probe));
  return prompts;
}

std::string Examples::prompt(std::int64_t probe) const {
  return files_.tokenizer.decode(
      files_.corpus.read_ragged<std::int32_t>("probes/context", Range{probe, probe + 1}).at(0));
}

void Examples::add_accepted(std::int64_t probe, json& to) const {
  const auto accepted = json::parse(
      files_.corpus.read_strings("probes/accepted", Range{probe, probe + 1}).at(0), nullptr, false);
  if (accepted.is_array() && !accepted.empty()) to["accepted"] = accepted[0];
}

// The right option of a choice, and the one that each model finds likeliest.
void Examples::add_preferences(std::int64_t probe, json& to) const {
  const Range row{probe, probe + 1};
  const auto ids = files_.corpus.read_ragged<std::int32_t>("probes/continuations", row).at(0);
  const auto lengths =
      files_.corpus.read_ragged<std::int32_t>("probes/continuation_lengths", row).at(0);
  std::vector<std::string> options;
  std::ptrdiff_t at = 0;
  for (const auto length : lengths) {
    options.push_back(
        trimmed(files_.tokenizer.decode({ids.begin() + at, ids.begin() + at + length})));
    at += length;
  }
  const auto correct = files_.corpus.read_rows<std::int32_t>("probes/correct", row).at(0);
  to["chosen"] = true;
  to["accepted"] = options.at(static_cast<std::size_t>(correct));
  const auto add = [&](const cluster::StoreReader& store, const std::string& group,
                       const std::string& name) {
    const auto values = store.read_ragged<float>(group + "/values", row).at(0);
    const auto best = std::ranges::max_element(values) - values.begin();
    to[name] = values.empty() ? "" : options.at(static_cast<std::size_t>(best));
    to[name + "_right"] = !values.empty() && best == correct;
  };
  add(files_.base, "measurements", "base");
  add(files_.evaluation, "joint/measurements", "erased");
}

void Examples::add_answers(std::int64_t probe, json& to) const {
  const Range row{probe, probe + 1};
  const auto add = [&](const cluster::StoreReader& store, const std::string& group,
                       const std::string& name) {
    const auto answer = store.read_ragged<std::int32_t>(group + "/answers", row).at(0);
    const auto values = store.read_ragged<float>(group + "/values", row).at(0);
    to[name] = trimmed(files_.tokenizer.decode(answer));
    to[name + "_right"] = !values.empty() && values.front() > 0;
  };
  add(files_.base, "measurements", "base");
  add(files_.evaluation, "joint/measurements", "erased");
}

}  // namespace quench::report
