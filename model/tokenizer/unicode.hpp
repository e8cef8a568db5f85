#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace quench::model::tokenization {

// Length in bytes of the well-formed UTF-8 sequence that starts at `at`; where it is ill-formed,
// minus the length of its maximal subpart (Unicode 16, section 3.9.6), which one U+FFFD replaces.
int sequence_length(std::string_view bytes, std::size_t at);

// Offset of the first byte that is not part of well-formed UTF-8.
std::optional<std::size_t> first_invalid_byte(std::string_view bytes);

// Well-formed UTF-8: one U+FFFD for each maximal ill-formed subpart.
std::string replace_invalid(std::string_view bytes);

// Bytes of the character that starts at `at` of well-formed UTF-8.
std::string_view character_at(std::string_view text, std::size_t at);

// Code point of one character of well-formed UTF-8.
char32_t code_point(std::string_view character);

// The Unicode property White_Space.
bool is_white_space(char32_t code);

// Lengths in bytes of the white space that `text` (well-formed) starts and ends with.
std::size_t leading_white_space(std::string_view text);
std::size_t trailing_white_space(std::string_view text);

// Code points that Unicode 15, 15.1 and 16 added to a general category ("L" or "Lu"), as the inside
// of a PCRE2 set ("\x{1C89}\x{A7CB}-\x{A7CD}"). PCRE2 10.42 knows Unicode 14, the tokenizers that
// checkpoints come from know 16.
std::string later_additions(std::string_view category);

}  // namespace quench::model::tokenization
