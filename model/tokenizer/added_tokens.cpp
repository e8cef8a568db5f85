#include "model/tokenizer/added_tokens.hpp"

#include <algorithm>
#include <functional>

#include "model/tokenizer/unicode.hpp"

namespace quench::model::tokenization {

AddedTokens::AddedTokens(const JsonField& list, const BytePairEncoder& model,
                         const Normalizer& normalizer) {
  for (const JsonField& field : list.elements()) {
    const std::string content = field.at("content").string();
    const std::int32_t id = field.at("id").id();
    if (content.empty()) field.at("content").fail("must not be empty");
    if (model.token_to_id(content).value_or(id) != id) {
      field.at("id").fail("the model's vocabulary gives '" + content + "' another id");
    }
    if (model.id_to_token(id).value_or(content) != content) {
      field.at("id").fail("id " + std::to_string(id) + " is also the id of '" +
                          std::string(*model.id_to_token(id)) + "'");
    }
    if (!ids_.emplace(content, id).second) field.at("content").fail("stands here twice");
    const bool normalized = field.boolean_or("normalized", true);
    Token token{content,
                normalized ? normalizer.apply(content) : content,
                field.boolean_or("single_word", false),
                field.boolean_or("lstrip", false),
                field.boolean_or("rstrip", false),
                field.boolean_or("special", false)};
    (normalized ? normalized_ : raw_).add(token.sought, id);
    if (!tokens_.emplace(id, std::move(token)).second) field.at("id").fail("stands here twice");
    size_ = std::max(size_, std::int64_t{id} + 1);
  }
}

void AddedTokens::Finder::add(std::string text, std::int32_t id) {
  if (text.empty()) return;
  auto& known = lengths[static_cast<unsigned char>(text.front())];
  const auto place = std::lower_bound(known.begin(), known.end(), text.size(), std::greater<>());
  if (place == known.end() || *place != text.size()) known.insert(place, text.size());
  ids.emplace(std::move(text), id);  // of two alike after normalisation the first counts
}

std::pair<std::size_t, std::int32_t> AddedTokens::Finder::longest_at(std::string_view text,
                                                                     std::size_t at) const {
  for (const std::size_t length : lengths[static_cast<unsigned char>(text[at])]) {
    if (length > text.size() - at) continue;
    const auto found = ids.find(text.substr(at, length));
    if (found != ids.end()) return {length, found->second};
  }
  return {0, -1};
}

std::vector<AddedTokens::Piece> AddedTokens::split(const Finder& finder,
                                                   std::string_view text) const {
  std::vector<Piece> pieces;
  std::size_t done = 0;
  for (std::size_t at = 0; at < text.size();) {
    const auto [length, id] = finder.longest_at(text, at);
    if (length == 0) {
      ++at;
      continue;
    }
    Span span{at, at + length};
    at = span.end;
    const Token& token = tokens_.at(id);
    if (token.single_word && !stands_alone(span, text)) continue;
    if (token.lstrip) {
      span.begin = std::max(done, span.begin - trailing_white_space(text.substr(0, span.begin)));
    }
    if (token.rstrip) span.end += leading_white_space(text.substr(span.end));
    if (done < span.begin) pieces.push_back({{done, span.begin}, std::nullopt});
    // White space that is a token itself, all of it taken by the token before, is not there again.
    if (span.begin < span.end) pieces.push_back({span, id});
    done = span.end;
  }
  if (done < text.size()) pieces.push_back({{done, text.size()}, std::nullopt});
  return pieces;
}

// Is neither neighbour a word character?
bool AddedTokens::stands_alone(const Span& span, std::string_view text) {
  static const std::string set = "[" + std::string(kWordSet) + "]";
  static const Pattern ends = Pattern::regex(set + R"(\z)"), starts = Pattern::regex(R"(\A)" + set);
  return ends.find_all(text.substr(0, span.begin)).empty() &&
         starts.find_all(text.substr(span.end)).empty();
}

std::optional<std::int32_t> AddedTokens::token_to_id(std::string_view content) const {
  const auto found = ids_.find(content);
  return found == ids_.end() ? std::nullopt : std::optional(found->second);
}

std::optional<std::string_view> AddedTokens::id_to_token(std::int32_t id) const {
  const auto found = tokens_.find(id);
  if (found == tokens_.end()) return std::nullopt;
  return found->second.content;
}

std::optional<std::string_view> AddedTokens::decoder_input(std::int32_t id) const {
  const auto found = tokens_.find(id);
  if (found == tokens_.end()) return std::nullopt;
  return found->second.sought;
}

bool AddedTokens::is_special(std::int32_t id) const {
  const auto found = tokens_.find(id);
  return found != tokens_.end() && found->second.special;
}

}  // namespace quench::model::tokenization
