#include "model/tokenizer/decoder.hpp"

#include <algorithm>
#include <optional>

#include "model/tokenizer/byte_level.hpp"
#include "model/tokenizer/unicode.hpp"

namespace quench::model::tokenization {

namespace {

std::string join(const std::vector<std::string>& tokens, std::string_view between) {
  std::string text;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (i > 0) text += between;
    text += tokens[i];
  }
  return text;
}

// The byte of a token <0x0A>.
std::optional<char> fallback_byte(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || !token.ends_with('>')) return std::nullopt;
  const std::string digits(token.substr(3, 2));
  if (digits.find_first_not_of("0123456789abcdefABCDEF") != digits.npos) return std::nullopt;
  return static_cast<char>(std::stoi(digits, nullptr, 16));
}

}  // namespace

Decoder Decoder::from_json(const JsonField& field) {
  Decoder decoder;
  decoder.present_ = true;
  decoder.add(field);
  return decoder;
}

void Decoder::add(const JsonField& field) {
  const std::string type = field.at("type").string();
  if (type == "Sequence") {
    for (const JsonField& step : field.at("decoders").elements()) add(step);
  } else if (type == "ByteLevel") {
    steps_.emplace_back(ByteLevel{});
  } else if (type == "ByteFallback") {
    steps_.emplace_back(ByteFallback{});
  } else if (type == "Fuse") {
    steps_.emplace_back(Fuse{});
  } else if (type == "Metaspace") {
    const std::string scheme = field.string_or(
        "prepend_scheme", field.boolean_or("add_prefix_space", true) ? "always" : "never");
    steps_.emplace_back(Metaspace{field.at("replacement").string(), scheme != "never"});
    if (field.at("replacement").string().empty()) field.at("replacement").fail("is empty");
  } else if (type == "Replace") {
    steps_.emplace_back(
        Replace{Pattern::from_json(field.at("pattern")), field.at("content").string()});
  } else if (type == "Strip") {
    steps_.emplace_back(
        Strip{field.at("content").string(), field.at("start").id(), field.at("stop").id()});
    if (field.at("content").string().empty()) field.at("content").fail("is empty");
  } else {
    field.at("type").fail("decoder " + type +
                          " is not supported; Sequence, ByteLevel, ByteFallback, Fuse, Metaspace, "
                          "Replace, Strip are");
  }
}

std::string Decoder::apply(std::vector<std::string> tokens) const {
  for (const auto& step : steps_) {
    std::visit([&](const auto& s) { run(s, tokens); }, step);
  }
  return join(tokens, present_ ? "" : " ");
}

void Decoder::run(const ByteLevel&, Tokens& tokens) {
  std::string bytes;
  for (const std::string& token : tokens) bytes += bytes_of_byte_level(token).value_or(token);
  tokens = {replace_invalid(bytes)};
}

// A run of byte tokens is its text, or one U+FFFD a byte where it is not well-formed as a whole.
void Decoder::run(const ByteFallback&, Tokens& tokens) {
  Tokens result;
  std::string bytes;
  const auto flush = [&] {
    if (!first_invalid_byte(bytes)) {
      if (!bytes.empty()) result.push_back(bytes);
    } else {
      result.insert(result.end(), bytes.size(), "\xEF\xBF\xBD");
    }
    bytes.clear();
  };
  for (std::string& token : tokens) {
    if (const auto byte = fallback_byte(token)) {
      bytes += *byte;
      continue;
    }
    flush();
    result.push_back(std::move(token));
  }
  flush();
  tokens = std::move(result);
}

void Decoder::run(const Fuse&, Tokens& tokens) { tokens = {join(tokens, "")}; }

void Decoder::run(const Metaspace& step, Tokens& tokens) {
  const Pattern mark = Pattern::literal(step.mark);
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    tokens[i] = mark.replace_all(tokens[i], i == 0 && step.drop_leading ? "" : " ");
  }
}

void Decoder::run(const Replace& step, Tokens& tokens) {
  for (std::string& token : tokens) token = step.pattern.replace_all(token, step.content);
}

void Decoder::run(const Strip& step, Tokens& tokens) {
  for (std::string& token : tokens) {
    std::string_view rest = token;
    for (std::int32_t i = 0; i < step.start && rest.starts_with(step.character); ++i) {
      rest.remove_prefix(step.character.size());
    }
    for (std::int32_t i = 0; i < step.stop && rest.ends_with(step.character); ++i) {
      rest.remove_suffix(step.character.size());
    }
    token = std::string(rest);
  }
}

}  // namespace quench::model::tokenization
