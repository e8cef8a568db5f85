#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "model/tokenizer/json_field.hpp"

struct pcre2_real_code_8;

namespace quench::model::tokenization {

// Bytes [begin, end) of a text.
struct Span {
  std::size_t begin, end;
  std::string_view of(std::string_view text) const { return text.substr(begin, end - begin); }
};

// The inside of a set of the word characters of Unicode technical standard 18.
inline constexpr std::string_view kWordSet =
    R"(\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{200C}\x{200D}\x{24B6}-\x{24E9}\x{1F130}-\x{1F149})"
    R"(\x{1F150}-\x{1F169}\x{1F170}-\x{1F189})";

// What a splitter or a replacement looks for: a literal string or a regular expression in
// Oniguruma's dialect, which tokenizer.json uses. Safe to use from several threads at once.
class Pattern {
 public:
  // {"String": ...} or {"Regex": ...}. Throws DataError for an expression that PCRE2 refuses or
  // that this project cannot translate.
  static Pattern from_json(const JsonField& field);
  static Pattern literal(std::string text) { return Pattern(std::move(text)); }
  // Throws std::invalid_argument.
  static Pattern regex(std::string_view oniguruma);

  // All matches in `text` (well-formed UTF-8), left to right, without overlap.
  std::vector<Span> find_all(std::string_view text) const;
  // `text` with every match replaced.
  std::string replace_all(std::string_view text, std::string_view replacement) const;

 private:
  using Code = std::shared_ptr<const pcre2_real_code_8>;
  explicit Pattern(std::variant<std::string, Code> what) : what_(std::move(what)) {}

  std::variant<std::string, Code> what_;
};

// The same expression for PCRE2 with PCRE2_UTF, PCRE2_UCP, PCRE2_MULTILINE. Throws
// std::invalid_argument for what has no equal there.
std::string pcre2_from_oniguruma(std::string_view pattern);

}  // namespace quench::model::tokenization
