#include "stages/tasks/match.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quench::tasks {

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
  if (word.find('.') != std::string::npos) {  // 5.0 is 5
    word.erase(word.find_last_not_of('0') + 1);
    if (word.ends_with('.')) word.pop_back();
  }
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

// Digits at the front.
std::size_t digits(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::find_if_not(text, [](unsigned char c) { return std::isdigit(c); }) -
      text.begin());
}

bool is_number(std::string_view word) { return !word.empty() && digits(word) == word.size(); }

// A comma between the digits of one number: "1,500". `word` is what stands before it.
bool groups_digits(std::string_view word, std::string_view from_comma) {
  return from_comma.front() == ',' && is_number(word) && digits(from_comma.substr(1)) == 3;
}

// The point of a decimal, "2.5"; in "12.05.1999" there is none.
bool is_decimal_point(std::string_view text, std::size_t at, const std::string& word) {
  if (text[at] != '.' || !is_number(word)) return false;
  const auto begin = at >= word.size() ? at - word.size() : 0;
  if (begin > 0 && text[begin - 1] == '.') return false;
  const auto behind = text.substr(at + 1);
  const auto count = digits(behind);
  return count > 0 &&
         !(behind.substr(count).starts_with('.') && digits(behind.substr(count + 1)) > 0);
}

// Words in lower case without punctuation and accents (Latin-1); small numbers as digits.
Words words_of(std::string_view text) {
  Words words;
  std::string word;
  const auto end_word = [&] {
    if (!word.empty()) words.push_back(normal_form(word));
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
    } else if (is_decimal_point(text, i, word)) {
      word += '.';
    } else if (!is_apostrophe(text.substr(i, 1)) && !groups_digits(word, text.substr(i))) {
      end_word();
    }
  }
  end_word();
  return words;
}

// What an accepted form asks for: its words without articles. An "a" at the end is none: it names
// one of several ("Vitamin A").
Words wanted_of(std::string_view form) {
  Words words = words_of(form);
  const bool named = !words.empty() && words.back() == "a";
  std::erase_if(words, is_article);
  if (named) words.push_back("a");
  return words;
}

// Whether the wanted words stand at the front of what was said, articles between them aside.
bool begins_with(std::span<const std::string> said, const Words& wanted) {
  std::size_t found = 0;
  for (const auto& word : said) {
    if (word == wanted[found]) {
      if (++found == wanted.size()) return true;
    } else if (found == 0 || !is_article(word)) {
      return false;
    }
  }
  return false;
}

bool holds(const Words& said, const Words& wanted) {
  if (wanted.empty() || said.empty()) return false;
  if (wanted == Words{"a"}) return said.back() == "a";  // before other words it is an article
  for (std::size_t i = 0; i < said.size(); ++i)
    if (begins_with(std::span(said).subspan(i), wanted)) return true;
  return false;
}

// Words of the longest common subsequence.
std::size_t longest_common(const Words& a, const Words& b) {
  std::vector<std::size_t> length(b.size() + 1, 0);  // of a's words so far and b's first so many
  for (const auto& word : a) {
    std::size_t diagonal = 0;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t above = length[j + 1];
      length[j + 1] = word == b[j] ? diagonal + 1 : std::max(above, length[j]);
      diagonal = above;
    }
  }
  return length.back();
}

}  // namespace

bool answer_matches(std::string_view answer, std::span<const std::string> accepted) {
  const Words said = words_of(answer);
  return std::ranges::any_of(accepted,
                             [&](const std::string& form) { return holds(said, wanted_of(form)); });
}

double rouge_l(std::string_view answer, std::span<const std::string> accepted) {
  const Words said = words_of(answer);
  double best = 0;
  for (const auto& form : accepted) {
    const Words wanted = words_of(form);
    const auto common = static_cast<double>(longest_common(said, wanted));
    if (common > 0)
      best = std::max(best, 2 * common / static_cast<double>(said.size() + wanted.size()));
  }
  return best;
}

}  // namespace quench::tasks
