#include "model/tokenizer/byte_level.hpp"

#include <array>

#include "model/tokenizer/unicode.hpp"

namespace quench::model::tokenization {

namespace {

struct Alphabet {
  std::array<std::string, 256> characters;  // all below U+0144, so of one or two bytes
  std::array<int, 0x144> bytes;

  Alphabet() {
    bytes.fill(-1);
    unsigned next_free = 0x100;
    for (unsigned byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
      const unsigned code = printable ? byte : next_free++;
      if (code < 0x80) {
        characters[byte] = {static_cast<char>(code)};
      } else {
        characters[byte] = {static_cast<char>(0xC0 | (code >> 6)),
                            static_cast<char>(0x80 | (code & 0x3F))};
      }
      bytes[code] = static_cast<int>(byte);
    }
  }
};

const Alphabet& alphabet() {
  static const Alphabet instance;
  return instance;
}

}  // namespace

void append_byte_level(std::string& out, std::string_view text) {
  const Alphabet& table = alphabet();
  for (const char c : text) out += table.characters[static_cast<unsigned char>(c)];
}

std::optional<std::string> bytes_of_byte_level(std::string_view token) {
  const Alphabet& table = alphabet();
  std::string bytes;
  for (std::size_t at = 0; at < token.size();) {
    const std::string_view character = character_at(token, at);
    const char32_t code = code_point(character);
    if (code >= table.bytes.size() || table.bytes[code] < 0) return std::nullopt;
    bytes += static_cast<char>(table.bytes[code]);
    at += character.size();
  }
  return bytes;
}

}  // namespace quench::model::tokenization
