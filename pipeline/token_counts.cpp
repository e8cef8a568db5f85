#include "pipeline/token_counts.hpp"

#include <algorithm>
#include <cmath>
#include <set>
#include <string>

namespace quench::pipeline {

namespace {

constexpr std::int64_t most_read = 8;
// Texts of one length differ in their tokens: what the concept with most has of its own, over the
// most that was seen among few.
constexpr double unread = 1.25;

void add_tokens(const model::Tokenizer& tokenizer, const std::vector<std::string>& texts,
                std::set<std::int32_t>& to) {
  for (const auto& text : texts) {
    const auto ids = tokenizer.encode(text);
    to.insert(ids.begin(), ids.end());
  }
}

// Evenly spread over the lengths of text; `concepts` in that order.
std::vector<corpus::ConceptEntry> sample(const std::vector<corpus::ConceptEntry>& concepts) {
  const auto count = std::ssize(concepts), read = std::min(most_read, count);
  std::vector<corpus::ConceptEntry> out;
  for (std::int64_t i = 0; i < read; ++i) out.push_back(concepts[(2 * i + 1) * count / (2 * read)]);
  return out;
}

// How the tokens of concepts add up is told by the power law of Heaps: from one concept's `each` of
// its own and the `several` that `read` of them have together.
double of_all(double each, double several, std::int64_t read, std::int64_t concepts) {
  if (each == 0) return 0;
  const double power =
      read > 1 ? std::log(several / each) / std::log(static_cast<double>(read)) : 1.0;
  return several * std::pow(static_cast<double>(concepts) / static_cast<double>(read), power);
}

}  // namespace

TokenCounts count_tokens(const std::filesystem::path& catalog, const model::Tokenizer& tokenizer,
                         const std::vector<corpus::ConceptEntry>& concepts,
                         const corpus::SharedText& shared) {
  std::set<std::int32_t> neutral;
  add_tokens(tokenizer, shared.neutral, neutral);
  const auto common = std::ssize(neutral);
  if (concepts.empty()) return {common, common, common, common};
  auto sorted = concepts;
  std::ranges::stable_sort(sorted, std::ranges::greater{}, &corpus::ConceptEntry::sentence_bytes);
  auto all = neutral;
  // How many tokens a concept adds to the neutral ones, and to `all`.
  const auto added = [&](const corpus::ConceptEntry& entry) {
    auto own = neutral;
    add_tokens(tokenizer, corpus::read_concept(catalog, entry).sentences, own);
    all.insert(own.begin(), own.end());
    return static_cast<double>(std::ssize(own) - common);
  };
  const auto read = sample(sorted);
  double sum = 0, most = 0;
  for (const auto& entry : read) {
    const auto own = added(entry);
    sum += own;
    most = std::max(most, own);
  }
  const auto mean = sum / static_cast<double>(std::ssize(read));
  const auto several = static_cast<double>(std::ssize(all) - common);
  most = std::max(most, added(sorted.front()));
  if (std::ssize(concepts) > std::ssize(read)) most *= unread;
  return {common, common + std::llround(mean), common + std::llround(most),
          common + std::llround(of_all(mean, several, std::ssize(read), std::ssize(concepts)))};
}

}  // namespace quench::pipeline
