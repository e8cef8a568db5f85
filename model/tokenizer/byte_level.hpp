#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace quench::model::tokenization {

// GPT-2's alphabet: a printable character for each of the 256 bytes, so that any bytes are text.

// Every byte of `text` as its character.
void append_byte_level(std::string& out, std::string_view text);

// The bytes that the characters of `token` (well-formed UTF-8) stand for; nothing if one of them is
// not of the alphabet.
std::optional<std::string> bytes_of_byte_level(std::string_view token);

}  // namespace quench::model::tokenization
