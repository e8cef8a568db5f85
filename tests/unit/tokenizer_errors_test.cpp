#include "tests/unit/tokenizer_fixture.hpp"

namespace quench::model {
namespace {

using nlohmann::json;

class TokenizerErrorsTest : public TokenizerFixture {
 protected:
  // Puts `value` at `pointer` of a good tokenizer; loading must then complain with `part`.
  void expect_field_error(const std::string& pointer, const json& value, const std::string& part) {
    json tokenizer = sentence_piece();
    tokenizer[json::json_pointer(pointer)] = value;
    expect_error(tokenizer, part);
  }
};

TEST_F(TokenizerErrorsTest, MissingOrNoJson) {
  EXPECT_THROW(Tokenizer::from_file(dir_ / "none.json"), DataError);
  EXPECT_THROW(Tokenizer::from_file(dir_), DataError);
  const std::string whole = byte_level().dump();
  try {
    load_text(whole.substr(0, whole.size() / 2));
    ADD_FAILURE();
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("byte " + std::to_string(whole.size() / 2 + 1)),
              std::string::npos)
        << error.what();
  }
  EXPECT_THROW(load_text(""), DataError);
  EXPECT_THROW(load_text("[1, 2]"), DataError);
  EXPECT_THROW(load_text("{}"), DataError);
  EXPECT_THROW(load_text("{\"model\": \"\xFF\"}"), DataError);
}

TEST_F(TokenizerErrorsTest, UnsupportedParts) {
  expect_field_error("/normalizer", {{"type", "NFC"}}, "normalizer.type: normalizer NFC");
  expect_field_error("/pre_tokenizer", {{"type", "BertPreTokenizer"}}, "pre_tokenizer.type");
  expect_field_error("/post_processor", {{"type", "RobertaProcessing"}}, "post_processor.type");
  expect_field_error("/decoder", {{"type", "CTC"}}, "decoder.type");
  expect_field_error("/decoder/decoders/1", {{"type", "WordPiece"}}, "decoder.decoders[1].type");
  expect_field_error("/model/type", "Unigram", "model.type: model Unigram");
  expect_field_error("/model/dropout", 0.1, "model.dropout");
  expect_field_error("/model/end_of_word_suffix", "</w>", "model.end_of_word_suffix");
  expect_field_error("/model/unk_token", "<nil>", "model.unk_token");
  expect_field_error("/model/byte_fallback", "yes", "model.byte_fallback");
}

TEST_F(TokenizerErrorsTest, UnsupportedRegularExpressions) {
  for (const auto* regex : {"(", "\\h", "[a&&b]", "[[a]b]", "(?~a)", "a{,3}", "\\p{Cn}", "[\\P{L}]",
                            "\\p{Nonsense}", "\\p{L", "\\", "(?m:.)", "\\u12"}) {
    expect_field_error(
        "/pre_tokenizer",
        {{"type", "Split"}, {"pattern", {{"Regex", regex}}}, {"behavior", "Isolated"}},
        "pre_tokenizer.pattern.Regex");
  }
  expect_field_error("/pre_tokenizer",
                     {{"type", "Split"}, {"pattern", {{"Regex", "a"}}}, {"behavior", "Apart"}},
                     "pre_tokenizer.behavior: behavior Apart");
  expect_field_error("/normalizer/pattern/String", "", "normalizer.pattern.String");
}

TEST_F(TokenizerErrorsTest, BrokenVocabulary) {
  expect_field_error("/model/vocab", json::array(), "model.vocab");
  expect_field_error("/model/vocab", json::object(), "model.vocab");
  expect_field_error("/model/vocab/ab", 3, "is also the id of");
  expect_field_error("/model/vocab/ab", -1, "model.vocab.ab");
  expect_field_error("/model/vocab/ab", 1.5, "model.vocab.ab");
  expect_field_error("/model/vocab/ab", 4294967301, "model.vocab.ab");
  expect_field_error("/model/vocab/ab", 2000000000, "far beyond");
}

TEST_F(TokenizerErrorsTest, BrokenMerges) {
  expect_field_error("/model/merges", nullptr, "model.merges: is missing");
  expect_field_error("/model/merges/1", json{"▁", "zz"}, "model.merges[1]: names 'zz'");
  expect_field_error("/model/merges/1", json{"a", "a"}, "model.merges[1]: names 'aa'");
  expect_field_error("/model/merges/1", "a b c", "model.merges[1]");
  expect_field_error("/model/merges/1", "ab", "model.merges[1]");
  expect_field_error("/model/merges/0", 7, "model.merges[0]");
}

TEST_F(TokenizerErrorsTest, BrokenAddedTokens) {
  expect_field_error("/added_tokens/1/id", 3, "added_tokens[1].id: id 3 is also the id of 'a'");
  expect_field_error("/added_tokens/0/id", 263, "added_tokens[0].id");
  expect_field_error("/added_tokens/1/content", "<s>", "added_tokens[1]");
  expect_field_error("/added_tokens/1/content", "", "added_tokens[1].content");
  expect_field_error("/added_tokens/1/id", "x", "added_tokens[1].id: must be an integer");
}

TEST_F(TokenizerErrorsTest, BrokenPostProcessor) {
  expect_field_error("/post_processor/single/1", {{"SpecialToken", {{"id", "<s>"}}}},
                     "post_processor.single");
  expect_field_error("/post_processor/special_tokens", json::object(),
                     "post_processor.special_tokens.<s>");
  expect_field_error("/post_processor/special_tokens/<s>/ids", json{999}, "unknown id 999");
}

TEST_F(TokenizerErrorsTest, DeepNestingIsRefused) {
  json step = {{"type", "Digits"}};
  for (int i = 0; i < 40; ++i)
    step = {{"type", "Sequence"}, {"pretokenizers", json::array({std::move(step)})}};
  expect_field_error("/pre_tokenizer", step, "nested too deeply");
}

}  // namespace
}  // namespace quench::model
