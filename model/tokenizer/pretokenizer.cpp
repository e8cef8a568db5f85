#include "model/tokenizer/pretokenizer.hpp"

#include <algorithm>

#include "model/tokenizer/byte_level.hpp"

namespace quench::model::tokenization {

namespace {

struct Cut {
  Span span;
  bool is_match;
};

// The whole of `text` as matches and what lies between them.
std::vector<Cut> cut(const Pattern& pattern, std::string_view text, bool invert) {
  std::vector<Cut> cuts;
  std::size_t done = 0;
  for (const Span& match : pattern.find_all(text)) {
    if (done != match.begin) cuts.push_back({{done, match.begin}, invert});
    cuts.push_back({match, !invert});
    done = match.end;
  }
  if (done != text.size()) cuts.push_back({{done, text.size()}, invert});
  return cuts;
}

// Joins each cut for which `joins(previous, current)` holds to the one before it.
template <typename Joins>
void join(std::vector<Cut>& cuts, Joins joins) {
  std::vector<Cut> joined;
  bool previous_match = false;
  for (const Cut& current : cuts) {
    if (!joined.empty() && joins(previous_match, current.is_match)) {
      Span& last = joined.back().span;
      last = {std::min(last.begin, current.span.begin), std::max(last.end, current.span.end)};
    } else {
      joined.push_back(current);
    }
    previous_match = current.is_match;
  }
  cuts = std::move(joined);
}

// Rebuilds the text word by word: `append(out, word, index)`.
template <typename Append>
void rebuild(Words& words, Append append) {
  std::string text;
  text.reserve(words.text.size() * 2);
  for (std::size_t i = 0; i < words.spans.size(); ++i) {
    const std::size_t begin = text.size();
    append(text, words.spans[i].of(words.text), i);
    words.spans[i] = {begin, text.size()};
  }
  words.text = std::move(text);
}

}  // namespace

Words PreTokenizer::apply(std::string text, bool starts_input) const {
  Words words{std::move(text), {}, starts_input};
  if (!words.text.empty()) words.spans.push_back({0, words.text.size()});
  for (const Step& step : steps_) {
    std::visit([&](const auto& s) { run(s, words); }, step);
    std::erase_if(words.spans, [](const Span& span) { return span.begin == span.end; });
  }
  return words;
}

void PreTokenizer::run(const Split& split, Words& words) {
  std::vector<Span> spans;
  spans.reserve(words.spans.size());
  for (const Span& word : words.spans) {
    std::vector<Cut> cuts = cut(split.pattern, word.of(words.text), split.invert);
    const auto match_after_none = [](bool previous, bool now) { return now && !previous; };
    if (split.behavior == Behavior::merged_with_previous) {
      join(cuts, match_after_none);
    } else if (split.behavior == Behavior::merged_with_next) {
      std::reverse(cuts.begin(), cuts.end());
      join(cuts, match_after_none);
      std::reverse(cuts.begin(), cuts.end());
    } else if (split.behavior == Behavior::contiguous) {
      join(cuts, [](bool previous, bool now) { return previous == now; });
    }
    for (const Cut& piece : cuts) {
      if (split.behavior == Behavior::removed && piece.is_match) continue;
      spans.push_back({word.begin + piece.span.begin, word.begin + piece.span.end});
    }
  }
  words.spans = std::move(spans);
}

void PreTokenizer::run(const Prefix& prefix, Words& words) {
  rebuild(words, [&](std::string& out, std::string_view word, std::size_t index) {
    const bool here = !prefix.first_only || (words.starts_input && index == 0);
    if (here && !word.starts_with(prefix.text)) out += prefix.text;
    out += word;
  });
}

void PreTokenizer::run(const Replace& replace, Words& words) {
  rebuild(words, [&](std::string& out, std::string_view word, std::size_t) {
    out += replace.pattern.replace_all(word, replace.content);
  });
}

void PreTokenizer::run(const ByteAlphabet&, Words& words) {
  rebuild(words, [](std::string& out, std::string_view word, std::size_t) {
    append_byte_level(out, word);
  });
}

}  // namespace quench::model::tokenization
