#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

// Tokens that say what a selected token says, found in the vocabulary: a concept's sentences happen
// not to hold all of them. Local: nothing here communicates.
namespace quench::selection {

// The letters of a decoded token, leading spaces left out and folded to small; empty for one that
// holds anything else (digits, punctuation, broken UTF-8).
std::u32string letters_of(const std::string& decoded);

// The words of a vocabulary by their letters.
class WordIndex {
 public:
  // `decoded` is the text of a token alone; empty for special tokens, which are left out.
  WordIndex(std::int64_t vocab, const std::function<std::string(std::int32_t)>& decoded);

  // The other tokens with the same letters as `stem` but for case, leading space and an English
  // plural's ending on either side; ascending. Only of a stem that begins a word (a space stands
  // before it, or it is capitalised and has 4 letters) and has 3 letters; of tokens without a
  // space, those of 4 letters: others are pieces of many words.
  std::vector<std::int32_t> same_letters(std::int32_t stem) const;
  // All tokens with exactly these letters but for case and leading space, this one among them.
  std::vector<std::int32_t> spellings(std::int32_t token) const;
  // True for a token of letters alone.
  bool is_word(std::int32_t token) const { return !letters_[token].empty(); }

 private:
  std::vector<std::u32string> letters_;  // [vocab]
  std::vector<bool> spaced_;             // [vocab]: a space stands before the letters
  std::vector<bool> begins_word_;        // [vocab]
  std::unordered_map<std::u32string, std::vector<std::int32_t>> tokens_;
};

}  // namespace quench::selection
