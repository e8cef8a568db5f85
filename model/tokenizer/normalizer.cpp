#include "model/tokenizer/normalizer.hpp"

namespace quench::model::tokenization {

Normalizer Normalizer::from_json(const JsonField& field) {
  Normalizer normalizer;
  normalizer.add(field);
  return normalizer;
}

void Normalizer::add(const JsonField& field) {
  const std::string type = field.at("type").string();
  if (type == "Sequence") {
    for (const JsonField& step : field.at("normalizers").elements()) add(step);
  } else if (type == "Replace") {
    steps_.emplace_back(
        Replace{Pattern::from_json(field.at("pattern")), field.at("content").string()});
  } else if (type == "Prepend") {
    steps_.emplace_back(Prepend{field.at("prepend").string()});
  } else {
    field.at("type").fail("normalizer " + type +
                          " is not supported; Sequence, Replace, Prepend are");
  }
}

std::string Normalizer::apply(std::string_view text) const {
  std::string result(text);
  for (const auto& step : steps_) {
    if (const auto* replace = std::get_if<Replace>(&step)) {
      result = replace->pattern.replace_all(result, replace->content);
    } else if (!result.empty()) {
      result.insert(0, std::get<Prepend>(step).prefix);
    }
  }
  return result;
}

}  // namespace quench::model::tokenization
