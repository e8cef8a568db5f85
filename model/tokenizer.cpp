#include "model/tokenizer.hpp"

#include <algorithm>

#include "cluster/error.hpp"
#include "model/tokenizer/added_tokens.hpp"
#include "model/tokenizer/affixes.hpp"
#include "model/tokenizer/bpe.hpp"
#include "model/tokenizer/decoder.hpp"
#include "model/tokenizer/json_field.hpp"
#include "model/tokenizer/normalizer.hpp"
#include "model/tokenizer/pretokenizer.hpp"
#include "model/tokenizer/unicode.hpp"

namespace quench::model {

using namespace tokenization;

struct Tokenizer::Parts {
  BytePairEncoder model;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  AddedTokens added;
  Affixes affixes;
  Decoder decoder;

  explicit Parts(const JsonField& root) : model(root.at("model")) {
    if (root.has("normalizer")) normalizer = Normalizer::from_json(root.at("normalizer"));
    if (root.has("pre_tokenizer"))
      pre_tokenizer = PreTokenizer::from_json(root.at("pre_tokenizer"));
    if (root.has("added_tokens")) added = {root.at("added_tokens"), model, normalizer};
    if (root.has("post_processor")) affixes = Affixes::from_json(root.at("post_processor"));
    if (root.has("decoder")) decoder = Decoder::from_json(root.at("decoder"));
    for (const auto* side : {&affixes.prefix, &affixes.suffix}) {
      for (const std::int32_t id : *side) {
        if (!token(id)) root.at("post_processor").fail("adds the unknown id " + std::to_string(id));
      }
    }
  }

  std::optional<std::string_view> token(std::int32_t id) const {
    const auto found = added.id_to_token(id);
    return found ? found : model.id_to_token(id);
  }

  // The ids of text in which no raw added token stands.
  void encode_between(std::string_view text, bool starts_input,
                      std::vector<std::int32_t>& ids) const {
    const std::string normalized = normalizer.apply(text);
    for (const auto& piece : added.split_normalized(normalized)) {
      if (piece.id) {
        ids.push_back(*piece.id);
      } else {
        model.encode(pre_tokenizer.apply(std::string(piece.span.of(normalized)),
                                         starts_input && piece.span.begin == 0),
                     ids);
      }
    }
  }
};

Tokenizer Tokenizer::from_file(const std::filesystem::path& tokenizer_json) {
  return Tokenizer(std::make_shared<const Parts>(JsonField::read(tokenizer_json)));
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view utf8, bool add_special_tokens) const {
  if (const auto offset = first_invalid_byte(utf8)) {
    throw DataError("text to tokenize: byte " + std::to_string(*offset) +
                    ": not UTF-8; convert the text to UTF-8");
  }
  std::vector<std::int32_t> ids;
  if (add_special_tokens) ids = special_prefix();
  for (const auto& piece : parts_->added.split_raw(utf8)) {
    if (piece.id) {
      ids.push_back(*piece.id);
    } else {
      parts_->encode_between(piece.span.of(utf8), piece.span.begin == 0, ids);
    }
  }
  if (add_special_tokens) ids.insert(ids.end(), special_suffix().begin(), special_suffix().end());
  return ids;
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids, bool skip_special_tokens) const {
  std::vector<std::string> tokens;
  tokens.reserve(ids.size());
  for (const std::int32_t id : ids) {
    if (skip_special_tokens && is_special(id)) continue;
    const auto added = parts_->added.decoder_input(id);
    if (const auto token = added ? added : parts_->model.id_to_token(id))
      tokens.emplace_back(*token);
  }
  return parts_->decoder.apply(std::move(tokens));
}

std::string Tokenizer::id_to_token(std::int32_t id) const {
  const auto token = parts_->token(id);
  if (!token) {
    throw DataError("token id " + std::to_string(id) +
                    " is not in the tokenizer, whose ids end at " +
                    std::to_string(vocab_size() - 1));
  }
  return std::string(*token);
}

std::optional<std::int32_t> Tokenizer::token_to_id(std::string_view token) const {
  const auto found = parts_->added.token_to_id(token);
  return found ? found : parts_->model.token_to_id(token);
}

std::int64_t Tokenizer::vocab_size() const {
  return std::max<std::int64_t>(parts_->model.size(), parts_->added.size());
}

bool Tokenizer::is_special(std::int32_t id) const { return parts_->added.is_special(id); }

const std::vector<std::int32_t>& Tokenizer::special_prefix() const {
  return parts_->affixes.prefix;
}

const std::vector<std::int32_t>& Tokenizer::special_suffix() const {
  return parts_->affixes.suffix;
}

}  // namespace quench::model
