#include "model/tokenizer/affixes.hpp"

namespace quench::model::tokenization {

namespace {

Affixes from_template(const JsonField& field) {
  Affixes affixes;
  bool text_seen = false;
  for (const JsonField& item : field.at("single").elements()) {
    if (item.has("Sequence")) {
      if (text_seen) item.fail("the text must stand in the template once");
      text_seen = true;
      continue;
    }
    const JsonField name = item.at("SpecialToken").at("id");
    auto& side = text_seen ? affixes.suffix : affixes.prefix;
    const JsonField token = field.at("special_tokens").at(name.string());
    for (const JsonField& id : token.at("ids").elements()) side.push_back(id.id());
  }
  if (!text_seen) field.at("single").fail("lacks a Sequence, the place of the text");
  return affixes;
}

}  // namespace

Affixes Affixes::from_json(const JsonField& field) {
  const std::string type = field.at("type").string();
  if (type == "ByteLevel") return {};
  if (type == "TemplateProcessing") return from_template(field);
  if (type != "Sequence") {
    field.at("type").fail("post-processor " + type +
                          " is not supported; Sequence, TemplateProcessing, ByteLevel are");
  }
  Affixes all;
  for (const JsonField& step : field.at("processors").elements()) {
    const Affixes outer = from_json(step);
    all.prefix.insert(all.prefix.begin(), outer.prefix.begin(), outer.prefix.end());
    all.suffix.insert(all.suffix.end(), outer.suffix.begin(), outer.suffix.end());
  }
  return all;
}

}  // namespace quench::model::tokenization
