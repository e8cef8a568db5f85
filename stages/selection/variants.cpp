#include "stages/selection/variants.hpp"

#include <algorithm>

namespace quench::selection {

namespace {

constexpr std::size_t least_letters = 3;
constexpr std::size_t least_unspaced = 4;  // shorter ones are pieces of many words

std::vector<std::string> forms_of(const std::string& letters) {
  std::vector<std::string> forms = {letters, letters + "s", letters + "es"};
  for (const std::string ending : {"s", "es"})
    if (letters.ends_with(ending) && letters.size() >= least_letters + ending.size())
      forms.push_back(letters.substr(0, letters.size() - ending.size()));
  return forms;
}

}  // namespace

std::string letters_of(const std::string& decoded) {
  const auto begin = decoded.find_first_not_of(' ');
  if (begin == std::string::npos || decoded.find("\uFFFD") != std::string::npos) return {};
  std::string letters = decoded.substr(begin);
  for (char& c : letters) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    const bool letter = (c >= 'a' && c <= 'z') || static_cast<unsigned char>(c) >= 0x80;
    if (!letter) return {};
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
