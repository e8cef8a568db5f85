#include <array>
#include <utility>

#include "model/tokenizer/pretokenizer.hpp"

namespace quench::model::tokenization {

namespace {

constexpr std::string_view kGpt2 =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
// Numeric as the reference tokenizer's host language has it: Unicode 17 already.
constexpr std::string_view kDigit = R"([\p{N}\x{11DE0}-\x{11DE9}\x{16FF4}-\x{16FF6}])";

}  // namespace

PreTokenizer PreTokenizer::from_json(const JsonField& field) {
  PreTokenizer result;
  result.add(field);
  return result;
}

void PreTokenizer::add(const JsonField& field) {
  const std::string type = field.at("type").string();
  if (type == "Sequence") {
    for (const JsonField& step : field.at("pretokenizers").elements()) add(step);
  } else if (type == "Split") {
    add_split(field);
  } else if (type == "ByteLevel") {
    add_byte_level(field);
  } else if (type == "Metaspace") {
    add_metaspace(field);
  } else if (type == "Digits") {
    const bool individual = field.boolean_or("individual_digits", false);
    add_regex(kDigit, individual ? Behavior::isolated : Behavior::contiguous);
  } else if (type == "Whitespace") {
    const std::string word(kWordSet);
    add_regex("[" + word + "]+|[^" + word + "\\s]+", Behavior::removed, true);
  } else if (type == "WhitespaceSplit") {
    add_regex(R"(\s)", Behavior::removed);
  } else {
    field.at("type").fail("pre-tokenizer " + type +
                          " is not supported; Sequence, Split, ByteLevel, Digits, Metaspace, "
                          "Whitespace, WhitespaceSplit are");
  }
}

void PreTokenizer::add_regex(std::string_view pattern, Behavior behavior, bool invert) {
  steps_.emplace_back(Split{Pattern::regex(pattern), behavior, invert});
}

void PreTokenizer::add_split(const JsonField& field) {
  static constexpr std::array<std::pair<std::string_view, Behavior>, 5> kBehaviors{{
      {"Isolated", Behavior::isolated},
      {"Removed", Behavior::removed},
      {"MergedWithPrevious", Behavior::merged_with_previous},
      {"MergedWithNext", Behavior::merged_with_next},
      {"Contiguous", Behavior::contiguous},
  }};
  const std::string name = field.at("behavior").string();
  for (const auto& [known, behavior] : kBehaviors) {
    if (name != known) continue;
    steps_.emplace_back(Split{Pattern::from_json(field.at("pattern")), behavior,
                              field.boolean_or("invert", false)});
    return;
  }
  field.at("behavior").fail("behavior " + name + " is not known");
}

void PreTokenizer::add_byte_level(const JsonField& field) {
  if (field.boolean_or("add_prefix_space", true)) steps_.emplace_back(Prefix{" ", false});
  if (field.boolean_or("use_regex", true)) add_regex(kGpt2, Behavior::isolated);
  steps_.emplace_back(ByteAlphabet{});
}

void PreTokenizer::add_metaspace(const JsonField& field) {
  const std::string mark = field.at("replacement").string();
  if (mark.empty()) field.at("replacement").fail("must not be empty");
  const std::string scheme = field.string_or(
      "prepend_scheme", field.boolean_or("add_prefix_space", true) ? "always" : "never");
  if (scheme != "always" && scheme != "first" && scheme != "never") {
    field.at("prepend_scheme").fail("must be always, first or never");
  }
  steps_.emplace_back(Replace{Pattern::literal(" "), mark});
  if (scheme != "never") steps_.emplace_back(Prefix{mark, scheme == "first"});
  if (field.boolean_or("split", true)) {
    steps_.emplace_back(Split{Pattern::literal(mark), Behavior::merged_with_next, false});
  }
}

}  // namespace quench::model::tokenization
