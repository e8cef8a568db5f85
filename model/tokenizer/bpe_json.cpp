#include <array>
#include <cstdio>
#include <utility>

#include "model/tokenizer/bpe.hpp"

namespace quench::model::tokenization {

namespace {

// "left right" or ["left", "right"].
std::pair<std::string, std::string> merge_pair(const JsonField& merges, std::size_t rank) {
  const nlohmann::json& pair = merges.json()[rank];
  if (pair.is_array() && pair.size() == 2 && pair[0].is_string() && pair[1].is_string()) {
    return {pair[0].get<std::string>(), pair[1].get<std::string>()};
  }
  if (!pair.is_string()) merges.at(rank).fail(R"(must be "left right" or ["left", "right"])");
  const auto& text = pair.get_ref<const std::string&>();
  const std::size_t space = text.find(' ');
  if (space == text.npos || text.find(' ', space + 1) != text.npos) {
    merges.at(rank).fail("must be two tokens with one space between");
  }
  return {text.substr(0, space), text.substr(space + 1)};
}

}  // namespace

BytePairEncoder::BytePairEncoder(const JsonField& model) {
  const std::string type = model.string_or("type", "BPE");
  if (type != "BPE") model.at("type").fail("model " + type + " is not supported; BPE is");
  read_vocabulary(model.at("vocab"));
  read_merges(model.at("merges"));
  read_options(model);
}

void BytePairEncoder::read_options(const JsonField& model) {
  if (model.has("dropout") && model.at("dropout").json() != 0) {
    model.at("dropout").fail("must be null: encoding must always give the same tokens");
  }
  for (const auto* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!model.string_or(key, "").empty()) model.at(key).fail("is not supported; must be null");
  }
  fuse_unknown_ = model.boolean_or("fuse_unk", false);
  ignore_merges_ = model.boolean_or("ignore_merges", false);
  if (model.has("unk_token")) {
    unknown_id_ = token_to_id(model.at("unk_token").string());
    if (!unknown_id_) model.at("unk_token").fail("is not in the vocabulary");
  }
  if (!model.boolean_or("byte_fallback", false)) return;
  std::array<char, 8> token{};
  for (unsigned byte = 0; byte < 256; ++byte) {
    std::snprintf(token.data(), token.size(), "<0x%02X>", byte);
    byte_ids_.push_back(token_to_id(token.data()));
  }
}

void BytePairEncoder::read_vocabulary(const JsonField& vocab) {
  if (!vocab.json().is_object() || vocab.json().empty()) vocab.fail("must map tokens to ids");
  // A vocabulary may have holes, but an id far beyond its size is a mistake (and much memory).
  const std::uint64_t limit = 16 * vocab.json().size() + 65536;
  ids_.reserve(vocab.json().size());
  for (const auto& [token, value] : vocab.json().items()) {
    const std::uint64_t id = value.is_number_unsigned() ? value.get<std::uint64_t>() : limit + 1;
    if (id > limit) {
      const std::int32_t shown = vocab.at(token).id();
      vocab.at(token).fail("id " + std::to_string(shown) + " is far beyond the number of tokens");
    }
    if (id >= tokens_.size()) tokens_.resize(id + 1);
    if (tokens_[id].data() != nullptr) {
      vocab.at(token).fail("id " + std::to_string(id) + " is also the id of '" +
                           std::string(tokens_[id]) + "'");
    }
    tokens_[id] = ids_.emplace(token, static_cast<std::int32_t>(id)).first->first;
  }
}

void BytePairEncoder::read_merges(const JsonField& merges) {
  if (!merges.json().is_array()) merges.fail("must be an array");
  const std::size_t count = merges.json().size();
  merges_.reserve(count);
  for (std::size_t rank = 0; rank < count; ++rank) {
    const auto [left, right] = merge_pair(merges, rank);
    const auto left_id = token_to_id(left), right_id = token_to_id(right);
    const auto merged_id = token_to_id(left + right);
    if (!left_id || !right_id || !merged_id) {
      const std::string& missing = !left_id ? left : !right_id ? right : left + right;
      merges.at(rank).fail("names '" + missing + "', which is not in the vocabulary");
    }
    merges_.insert_or_assign(pair_key(*left_id, *right_id),
                             Merge{static_cast<std::int32_t>(rank), *merged_id});
  }
}

}  // namespace quench::model::tokenization
