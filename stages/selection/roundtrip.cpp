#include "stages/selection/roundtrip.hpp"

#include <algorithm>
#include <string_view>
#include <unordered_map>

namespace quench::selection {

namespace {

constexpr std::size_t most_tokens = 200;  // of a feature, in the published code's table

void replace_all(std::string& text, std::string_view what, std::string_view with) {
  for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + with.size()))
    text.replace(at, what.size(), with);
}

std::string with_escaped_breaks(std::string text) {
  replace_all(text, "\r", "\\r");
  replace_all(text, "\n", "\\n");
  return text;
}

std::string text_of_piece(std::string piece) {
  replace_all(piece, "\u2581", " ");  // SentencePiece
  replace_all(piece, "\u0120", " ");  // byte-level BPE
  return with_escaped_breaks(std::move(piece));
}

}  // namespace

std::vector<Label> labels_by_string(const Factors& factors, const std::vector<Label>& labels,
                                    const TokenText& decoded, const TokenText& piece) {
  std::unordered_map<std::string, Label> table;
  for (std::int64_t k = 0; k < factors.rank; ++k) {
    auto places = strongest_first(factors, k);
    std::erase_if(places, [&](auto i) { return !(std::abs(factors.coefficients[i]) > 1e-12); });
    places.resize(std::min(places.size(), most_tokens));
    for (const auto place : places) {
      const auto row = factors.rows[place];
      table.emplace(with_escaped_breaks(decoded(factors.tokens[row])), labels[row]);
    }
  }
  std::vector<Label> out;
  for (const auto token : factors.tokens) {
    const auto found = table.find(text_of_piece(piece(token)));
    out.push_back(found == table.end() ? Label::neither : found->second);
  }
  return out;
}

}  // namespace quench::selection
