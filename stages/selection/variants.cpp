#include "stages/selection/variants.hpp"

#include <algorithm>
#include <clocale>
#include <cwctype>
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

std::vector<std::u32string> forms_of(const std::u32string& letters) {
  std::vector<std::u32string> forms = {letters, letters + U"s", letters + U"es"};
  for (const std::u32string ending : {U"s", U"es"})
    if (letters.ends_with(ending) && letters.size() >= least_letters + ending.size())
      forms.push_back(letters.substr(0, letters.size() - ending.size()));
  const auto exchange = [&](const std::u32string& ending, const std::u32string& other) {
    if (letters.ends_with(ending) && letters.size() >= least_letters + ending.size())
      forms.push_back(letters.substr(0, letters.size() - ending.size()) + other);
  };
  exchange(U"y", U"ies");
  exchange(U"ies", U"y");
  return forms;
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
    : letters_(vocab), spaced_(vocab, false) {
  for (std::int32_t token = 0; token < vocab; ++token) {
    const auto text = decoded(token);
    letters_[token] = letters_of(text);
    spaced_[token] = text.starts_with(' ');
    if (letters_[token].size() >= least_letters) tokens_[letters_[token]].push_back(token);
  }
}

std::vector<std::int32_t> WordIndex::spellings(std::int32_t token) const {
  const auto found = tokens_.find(letters_[token]);
  return found == tokens_.end() ? std::vector<std::int32_t>{token} : found->second;
}

std::vector<std::int32_t> WordIndex::same_letters(std::int32_t stem) const {
  const auto& letters = letters_[stem];
  if (!spaced_[stem] || letters.size() < least_letters) return {};
  std::vector<std::int32_t> out;
  for (const auto& form : forms_of(letters)) {
    const auto found = tokens_.find(form);
    if (found == tokens_.end()) continue;
    std::ranges::copy_if(found->second, std::back_inserter(out), [&](auto token) {
      return token != stem && (spaced_[token] || form.size() >= least_unspaced);
    });
  }
  std::ranges::sort(out);
  return out;
}

}  // namespace quench::selection
