#define PCRE2_CODE_UNIT_WIDTH 8
#include "model/tokenizer/pattern.hpp"

#include <pcre2.h>

#include <array>
#include <limits>
#include <optional>
#include <stdexcept>

#include "cluster/error.hpp"
#include "model/tokenizer/unicode.hpp"

namespace quench::model::tokenization {

namespace {

std::string message_of(int error) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(error, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

PCRE2_SPTR bytes_of(std::string_view text) {
  return reinterpret_cast<PCRE2_SPTR>(text.data() != nullptr ? text.data() : "");
}

std::shared_ptr<const pcre2_code> compile(const std::string& pattern) {
  const std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> context(
      pcre2_compile_context_create(nullptr), pcre2_compile_context_free);
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code =
      pcre2_compile(bytes_of(pattern), pattern.size(), PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE,
                    &error, &offset, context.get());
  if (code == nullptr) {
    throw std::invalid_argument(message_of(error) + " at offset " + std::to_string(offset) +
                                " of " + pattern);
  }
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);  // where it is unavailable, the interpreter serves
  return {code, [](const pcre2_code* c) { pcre2_code_free(const_cast<pcre2_code*>(c)); }};
}

// One pcre2_match; keeps what a thread can use again for any pattern.
class Matcher {
 public:
  Matcher()
      : data_(pcre2_match_data_create(1, nullptr), pcre2_match_data_free),
        context_(pcre2_match_context_create(nullptr), pcre2_match_context_free) {
    pcre2_set_match_limit(context_.get(), std::numeric_limits<std::uint32_t>::max());
    pcre2_set_heap_limit(context_.get(), std::numeric_limits<std::uint32_t>::max());
  }

  std::optional<Span> search(const pcre2_code* code, std::string_view text, std::size_t from) {
    int found = match(code, text, from, PCRE2_NO_UTF_CHECK);
    // A very long run can exhaust the compiled matcher's small stack; the interpreter uses the
    // heap.
    if (found == PCRE2_ERROR_JIT_STACKLIMIT) {
      found = match(code, text, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT);
    }
    if (found == PCRE2_ERROR_NOMATCH) return std::nullopt;
    // The patterns are the model's; one that backtracks without end is no bug of ours.
    if (found == PCRE2_ERROR_MATCHLIMIT || found == PCRE2_ERROR_DEPTHLIMIT ||
        found == PCRE2_ERROR_HEAPLIMIT) {
      throw DataError(
          "text to tokenize: a pattern of the tokenizer.json takes too many steps on " +
          std::to_string(text.size()) + " bytes of text (" + message_of(found) +
          "); its expressions need ones that backtrack less, or the text shorter lines");
    }
    if (found < 0)
      throw DataError("a pattern of the tokenizer.json cannot be matched: " + message_of(found));
    const PCRE2_SIZE* offsets = pcre2_get_ovector_pointer(data_.get());
    return Span{offsets[0], offsets[1]};
  }

 private:
  int match(const pcre2_code* code, std::string_view text, std::size_t from,
            std::uint32_t options) {
    return pcre2_match(code, bytes_of(text), text.size(), from, options, data_.get(),
                       context_.get());
  }

  std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data_;
  std::unique_ptr<pcre2_match_context, decltype(&pcre2_match_context_free)> context_;
};

std::vector<Span> find_literal(std::string_view literal, std::string_view text) {
  std::vector<Span> matches;
  for (std::size_t at = text.find(literal); at != std::string_view::npos;
       at = text.find(literal, at + literal.size())) {
    matches.push_back({at, at + literal.size()});
  }
  return matches;
}

std::vector<Span> find_regex(const pcre2_code* code, std::string_view text) {
  thread_local Matcher matcher;
  std::vector<Span> matches;
  std::size_t from = 0;
  while (from <= text.size()) {
    const auto match = matcher.search(code, text, from);
    if (!match) break;
    // An empty match right after the last one does not count; look on from the next character.
    if (match->begin == match->end && !matches.empty() && matches.back().end == match->end) {
      from += from < text.size() ? character_at(text, from).size() : 1;
      continue;
    }
    matches.push_back(*match);
    from = match->end;
  }
  return matches;
}

}  // namespace

Pattern Pattern::regex(std::string_view oniguruma) {
  return Pattern(compile(pcre2_from_oniguruma(oniguruma)));
}

Pattern Pattern::from_json(const JsonField& field) {
  if (field.has("String")) {
    std::string text = field.at("String").string();
    if (text.empty()) field.at("String").fail("must not be empty");
    return literal(std::move(text));
  }
  const JsonField expression = field.at("Regex");
  try {
    return regex(expression.string());
  } catch (const std::invalid_argument& error) {
    expression.fail(error.what());
  }
}

std::vector<Span> Pattern::find_all(std::string_view text) const {
  if (const auto* literal = std::get_if<std::string>(&what_)) return find_literal(*literal, text);
  return find_regex(std::get<Code>(what_).get(), text);
}

std::string Pattern::replace_all(std::string_view text, std::string_view replacement) const {
  std::string result;
  std::size_t done = 0;
  for (const Span& match : find_all(text)) {
    result.append(text.substr(done, match.begin - done)).append(replacement);
    done = match.end;
  }
  return result.append(text.substr(done));
}

}  // namespace quench::model::tokenization
