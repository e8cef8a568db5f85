#include "stages/selection/variants.hpp"

#include <algorithm>
#include <clocale>
#include <cwctype>
#include <initializer_list>
#include <string_view>

#include "cluster/error.hpp"
#include "model/tokenizer/unicode.hpp"

namespace quench::selection {

using model::tokenization::character_at;
using model::tokenization::code_point;
using model::tokenization::first_invalid_byte;

namespace {

constexpr std::size_t least_letters = 3;
constexpr std::size_t least_unspaced = 4;  // shorter ones are pieces of many words

bool ends_in(const std::u32string& word, std::initializer_list<const char32_t*> endings) {
  return std::ranges::any_of(endings, [&](const auto* ending) { return word.ends_with(ending); });
}

// English plurals of a word: -es after a hiss, -s or -es after o, -s or -ies for y, else -s.
std::vector<std::u32string> plurals_of(const std::u32string& word) {
  if (ends_in(word, {U"s", U"x", U"z", U"ch", U"sh"})) return {word + U"es"};
  std::vector<std::u32string> plurals{word + U"s"};
  if (word.ends_with(U'o')) plurals.push_back(word + U"es");
  if (word.ends_with(U'y')) plurals.push_back(word.substr(0, word.size() - 1) + U"ies");
  return plurals;
}

// Words that this may be the plural of.
std::vector<std::u32string> singulars_of(const std::u32string& word) {
  if (ends_in(word, {U"us", U"is"})) return {};  // virus, Paris
  std::vector<std::u32string> singulars;
  const auto cut = [&](const std::u32string& ending, const std::u32string& other) {
    if (!word.ends_with(ending) || word.size() < least_letters + ending.size()) return;
    const auto singular = word.substr(0, word.size() - ending.size()) + other;
    if (std::ranges::count(plurals_of(singular), word) > 0) singulars.push_back(singular);
  };
  cut(U"s", U"");
  cut(U"ies", U"y");
  cut(U"es", U"");
  return singulars;
}

// What the C library knows of Unicode, whatever the user's locale.
locale_t unicode() {
  static const locale_t locale = [] {
    const auto made = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
    if (made == nullptr) throw DataError("the locale C.UTF-8 is missing on this machine");
    return made;
  }();
  return locale;
}

// A capital and a small letter after it, as at the start of a sentence or within brackets.
bool is_capitalised(const std::string& text) {
  if (text.empty() || first_invalid_byte(text)) return false;
  const auto first = character_at(text, 0);
  const auto rest = std::string_view(text).substr(first.size());
  return !rest.empty() && iswupper_l(static_cast<wint_t>(code_point(first)), unicode()) != 0 &&
         iswlower_l(static_cast<wint_t>(code_point(character_at(rest, 0))), unicode()) != 0;
}

}  // namespace

std::u32string letters_of(const std::string& decoded) {
  const auto begin = decoded.find_first_not_of(' ');
  if (begin == std::string::npos || first_invalid_byte(decoded)) return {};
  std::u32string letters;
  for (auto rest = std::string_view(decoded).substr(begin); !rest.empty();) {
    const auto character = character_at(rest, 0);
    const auto code = static_cast<wint_t>(code_point(character));
    if (iswalpha_l(code, unicode()) == 0) return {};
    letters += static_cast<char32_t>(towlower_l(code, unicode()));
    rest.remove_prefix(character.size());
  }
  return letters;
}

WordIndex::WordIndex(std::int64_t vocab, const std::function<std::string(std::int32_t)>& decoded)
    : letters_(vocab), spaced_(vocab, false), begins_word_(vocab, false) {
  for (std::int32_t token = 0; token < vocab; ++token) {
    const auto text = decoded(token);
    letters_[token] = letters_of(text);
    spaced_[token] = text.starts_with(' ');
    begins_word_[token] =
        spaced_[token] || (letters_[token].size() >= least_unspaced && is_capitalised(text));
    if (letters_[token].size() >= least_letters) tokens_[letters_[token]].push_back(token);
  }
}

std::vector<std::int32_t> WordIndex::spellings(std::int32_t token) const {
  const auto found = tokens_.find(letters_[token]);
  return found == tokens_.end() ? std::vector<std::int32_t>{token} : found->second;
}

std::vector<std::int32_t> WordIndex::same_letters(std::int32_t stem) const {
  const auto& letters = letters_[stem];
  if (!begins_word_[stem] || letters.size() < least_letters) return {};
  std::vector<std::int32_t> out;
  const auto add = [&](const std::u32string& form) {
    const auto found = tokens_.find(form);
    if (found == tokens_.end()) return false;
    std::ranges::copy_if(found->second, std::back_inserter(out), [&](auto token) {
      return token != stem && (spaced_[token] || form.size() >= least_unspaced);
    });
    return true;
  };
  add(letters);
  std::ranges::for_each(plurals_of(letters), add);
  for (const auto& singular : singulars_of(letters))
    if (add(singular)) break;  // houses: of house, then not of hous
  std::ranges::sort(out);
  return out;
}

}  // namespace quench::selection
