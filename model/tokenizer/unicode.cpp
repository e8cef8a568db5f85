#include "model/tokenizer/unicode.hpp"

namespace quench::model::tokenization {

namespace {

struct Lead {
  int length;
  unsigned char second_low, second_high;  // allowed range of the second byte
};

// Table 3-7 of the Unicode standard; length 0 for a byte that cannot lead.
Lead lead_of(unsigned char byte) {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xC2) return {0, 0, 0};
  if (byte < 0xE0) return {2, 0x80, 0xBF};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte < 0xF0) return {3, 0x80, 0xBF};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte < 0xF4) return {4, 0x80, 0xBF};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

}  // namespace

int sequence_length(std::string_view bytes, std::size_t at) {
  const Lead lead = lead_of(static_cast<unsigned char>(bytes[at]));
  if (lead.length == 0) return -1;
  for (int i = 1; i < lead.length; ++i) {
    if (at + i >= bytes.size()) return -i;
    const auto byte = static_cast<unsigned char>(bytes[at + i]);
    const bool good =
        i == 1 ? byte >= lead.second_low && byte <= lead.second_high : byte >= 0x80 && byte <= 0xBF;
    if (!good) return -i;
  }
  return lead.length;
}

std::optional<std::size_t> first_invalid_byte(std::string_view bytes) {
  for (std::size_t at = 0; at < bytes.size();) {
    const int length = sequence_length(bytes, at);
    if (length < 0) return at;
    at += static_cast<std::size_t>(length);
  }
  return std::nullopt;
}

std::string replace_invalid(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  for (std::size_t at = 0; at < bytes.size();) {
    const int length = sequence_length(bytes, at);
    text += length > 0 ? bytes.substr(at, static_cast<std::size_t>(length)) : "\xEF\xBF\xBD";
    at += static_cast<std::size_t>(length > 0 ? length : -length);
  }
  return text;
}

std::string_view character_at(std::string_view text, std::size_t at) {
  return text.substr(
      at, static_cast<std::size_t>(lead_of(static_cast<unsigned char>(text[at])).length));
}

char32_t code_point(std::string_view character) {
  const auto first = static_cast<unsigned char>(character.front());
  if (character.size() == 1) return first;
  char32_t code = first & (0x7FU >> character.size());
  for (const char c : character.substr(1))
    code = (code << 6) | (static_cast<unsigned char>(c) & 0x3FU);
  return code;
}

bool is_white_space(char32_t code) {
  return (code >= 0x09 && code <= 0x0D) || code == 0x20 || code == 0x85 || code == 0xA0 ||
         code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 ||
         code == 0x202F || code == 0x205F || code == 0x3000;
}

std::size_t leading_white_space(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const std::string_view character = character_at(text, at);
    if (!is_white_space(code_point(character))) break;
    at += character.size();
  }
  return at;
}

std::size_t trailing_white_space(std::string_view text) {
  std::size_t end = text.size();
  while (end > 0) {
    std::size_t start = end - 1;
    while ((static_cast<unsigned char>(text[start]) & 0xC0U) == 0x80) --start;
    if (!is_white_space(code_point(text.substr(start, end - start)))) break;
    end = start;
  }
  return text.size() - end;
}

}  // namespace quench::model::tokenization
