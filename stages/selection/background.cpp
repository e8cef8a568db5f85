#include "stages/selection/background.hpp"

#include <algorithm>
#include <string>

#include "cluster/error.hpp"

namespace quench::selection {

void add(Background& background, const DocumentFrequencies& frequencies) {
  background.sentences += frequencies.sentences;
  const auto vocab = static_cast<std::int64_t>(background.counts.size());
  for (std::size_t i = 0; i < frequencies.ids.size(); ++i) {
    const auto id = frequencies.ids[i];
    if (id < 0 || id >= vocab) {
      throw DataError("token " + std::to_string(id) + " is outside of the vocabulary of " +
                      std::to_string(vocab) + "; corpus and model are of different tokenizers");
    }
    background.counts[id] += frequencies.counts[i];
  }
}

DocumentFrequencies sum_of(const DocumentFrequencies& a, const DocumentFrequencies& b) {
  DocumentFrequencies out;
  out.sentences = a.sentences + b.sentences;
  std::size_t i = 0;
  std::size_t j = 0;
  while (i < a.ids.size() || j < b.ids.size()) {
    const bool from_a = i < a.ids.size() && (j == b.ids.size() || a.ids[i] <= b.ids[j]);
    const bool from_b = j < b.ids.size() && (i == a.ids.size() || b.ids[j] <= a.ids[i]);
    out.ids.push_back(from_a ? a.ids[i] : b.ids[j]);
    out.counts.push_back((from_a ? a.counts[i] : 0) + (from_b ? b.counts[j] : 0));
    i += from_a ? 1 : 0;
    j += from_b ? 1 : 0;
  }
  return out;
}

std::int64_t count_of(const DocumentFrequencies& frequencies, std::int32_t token) {
  const auto& ids = frequencies.ids;
  const auto place = std::lower_bound(ids.begin(), ids.end(), token);
  return place != ids.end() && *place == token ? frequencies.counts[place - ids.begin()] : 0;
}

double z_score(std::int32_t token, std::int64_t own_count, std::int64_t own_sentences,
               const Background& whole, const DocumentFrequencies& excluded, double standard) {
  const auto others = static_cast<double>(whole.sentences - excluded.sentences);
  const auto elsewhere = static_cast<double>(whole.counts.at(token) - count_of(excluded, token));
  const double scale = standard > 0 && others > 0 ? standard / others : 1;
  return log_odds_z(static_cast<double>(own_count), static_cast<double>(own_sentences),
                    scale * elsewhere, scale * others);
}

std::vector<double> z_scores(std::span<const std::int32_t> tokens, const DocumentFrequencies& own,
                             const Background& whole, const DocumentFrequencies& excluded,
                             double standard) {
  std::vector<double> out;
  out.reserve(tokens.size());
  for (const auto token : tokens)
    out.push_back(z_score(token, count_of(own, token), own.sentences, whole, excluded, standard));
  return out;
}

std::vector<Label> labels_of(std::span<const std::int32_t> tokens, const DocumentFrequencies& own,
                             const DocumentFrequencies& neutral) {
  std::vector<Label> out;
  out.reserve(tokens.size());
  for (const auto token : tokens) {
    const bool in_own = count_of(own, token) > 0;
    const bool in_neutral = count_of(neutral, token) > 0;
    if (in_own)
      out.push_back(in_neutral ? Label::both : Label::own);
    else
      out.push_back(in_neutral ? Label::neutral : Label::neither);
  }
  return out;
}

}  // namespace quench::selection
