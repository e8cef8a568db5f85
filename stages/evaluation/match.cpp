#include <algorithm>
#include <array>
#include <cctype>
#include <string>
#include <string_view>
#include <vector>

#include "stages/evaluation/measure.hpp"

namespace quench::evaluation {

namespace {

using Words = std::vector<std::string>;

constexpr std::array<std::string_view, 21> numbers = {
    "zero",     "one",     "two",     "three",     "four",     "five",     "six",
    "seven",    "eight",   "nine",    "ten",       "eleven",   "twelve",   "thirteen",
    "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"};

// Latin-1 letters (U+00C0 to U+00FF) without their accents, by second byte of their UTF-8 form.
char fold_latin1(unsigned char second) {
  constexpr std::string_view folded =
      "aaaaaaaceeeeiiiidnooooo ouuuuytsaaaaaaaceeeeiiiidnooooo ouuuuyty";
  return folded[(second - 0x80u) % folded.size()];
}

std::string normal_form(std::string word) {
  const auto found = std::find(numbers.begin(), numbers.end(), word);
  return found == numbers.end() ? word : std::to_string(found - numbers.begin());
}

bool is_article(std::string_view word) { return word == "a" || word == "an" || word == "the"; }

// The bytes of a punctuation mark or blank of Latin-1 (U+0080 to U+00BF, but for its letters) or of
// General Punctuation (U+2000 to U+206F: curly quotes, dashes) at the front of the text; else 0.
std::size_t wide_punctuation(std::string_view text) {
  const auto byte = [&](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u;
  };
  if (byte(0) == 0xC2 && byte(1) != 0xAA && byte(1) != 0xB5 && byte(1) != 0xBA) return 2;
  const bool general = byte(0) == 0xE2 && (byte(1) == 0x80 || (byte(1) == 0x81 && byte(2) < 0xB0));
  return general ? 3 : 0;
}

bool is_apostrophe(std::string_view mark) { return mark == "'" || mark == "‘" || mark == "’"; }

// Words in lower case without punctuation, accents (Latin-1) and articles; small numbers as digits.
Words words_of(std::string_view text) {
  Words words;
  std::string word;
  const auto end_word = [&] {
    if (!word.empty() && !is_article(word)) words.push_back(normal_form(word));
    word.clear();
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte == 0xC3 && i + 1 < text.size()) {
      const char folded = fold_latin1(static_cast<unsigned char>(text[++i]));
      folded == ' ' ? end_word() : word.push_back(folded);
    } else if (const auto wide = wide_punctuation(text.substr(i)); wide > 0) {
      if (!is_apostrophe(text.substr(i, wide))) end_word();
      i += wide - 1;
    } else if (byte >= 0x80 || std::isalnum(byte)) {
      word += static_cast<char>(byte < 0x80 ? std::tolower(byte) : byte);
    } else if (!is_apostrophe(text.substr(i, 1))) {
      end_word();
    }
  }
  end_word();
  return words;
}

}  // namespace

bool answer_matches(std::string_view answer, std::span<const std::string> accepted) {
  const Words said = words_of(answer);
  return std::ranges::any_of(accepted, [&](const std::string& form) {
    const Words wanted = words_of(form);
    return !wanted.empty() && !std::ranges::search(said, wanted).empty();
  });
}

}  // namespace quench::evaluation
