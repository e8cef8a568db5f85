#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "cluster/error.hpp"
#include "model/tokenizer.hpp"

namespace quench::model {

// A folder of its own for each test, with hand-made tokenizers small enough to check by eye.
class TokenizerFixture : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name =
        (std::filesystem::temp_directory_path() / "quench-tokenizer-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    dir_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  void write(const std::string& file, const std::string& text) const {
    std::ofstream(dir_ / file, std::ios::binary) << text;
  }
  Tokenizer load(const nlohmann::json& tokenizer) const { return load_text(tokenizer.dump()); }
  Tokenizer load_text(const std::string& text) const {
    write("tokenizer.json", text);
    return Tokenizer::from_file(dir_ / "tokenizer.json");
  }

  // Loading must fail with a DataError that names the file and has `part` in it.
  void expect_error(const nlohmann::json& tokenizer, const std::string& part) const {
    try {
      load(tokenizer);
      ADD_FAILURE() << "no error, expected one with: " << part;
    } catch (const DataError& error) {
      const std::string what = error.what();
      EXPECT_NE(what.find("tokenizer.json"), std::string::npos) << what;
      EXPECT_NE(what.find(part), std::string::npos) << what;
    }
  }

  static nlohmann::json added(int id, const std::string& content, bool special) {
    return {{"id", id}, {"content", content}, {"special", special}, {"normalized", !special}};
  }

  // Ids 0 to 255: the bytes in GPT-2's alphabet, in the order of the bytes; then "he", "ll", "llo",
  // "hello", "Ġhello", "ĠĠ", and the special token <end> 262.
  static nlohmann::json byte_level() {
    nlohmann::json vocab;
    int next_free = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
      const int code = printable ? byte : next_free++;
      std::string character;
      if (code >= 0x80) character += static_cast<char>(0xC0 | (code >> 6));
      character += static_cast<char>(code < 0x80 ? code : 0x80 | (code & 0x3F));
      vocab[character] = byte;
    }
    int id = 256;
    for (const auto* token : {"he", "ll", "llo", "hello", "Ġhello", "ĠĠ"}) vocab[token] = id++;
    return {{"added_tokens", {added(262, "<end>", true)}},
            {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
            {"decoder", {{"type", "ByteLevel"}}},
            {"model",
             {{"type", "BPE"},
              {"vocab", vocab},
              {"merges", {"h e", "l l", "ll o", "he llo", "Ġ hello", "Ġ Ġ"}}}}};
  }

  // As SentencePiece models are converted: "▁" for a space, bytes as a fallback, BOS before a text.
  static nlohmann::json sentence_piece() {
    nlohmann::json tokenizer = nlohmann::json::parse(R"({
      "added_tokens": [{"id": 1, "content": "<s>", "special": true, "normalized": false},
                       {"id": 263, "content": "\n\n", "special": false, "normalized": true}],
      "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
      "post_processor": {"type": "TemplateProcessing",
                         "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}],
                         "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
      "decoder": {"type": "Sequence", "decoders": [
                   {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                   {"type": "ByteFallback"}, {"type": "Fuse"}]},
      "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true,
                "vocab": {"<unk>": 0, "<s>": 1, "▁": 2, "a": 3, "b": 4, "ab": 5, "▁ab": 6},
                "merges": [["a", "b"], ["▁", "ab"]]}})");
    for (int byte = 0; byte < 256; ++byte) {
      constexpr const char* kDigits = "0123456789ABCDEF";
      const std::string token = std::string("<0x") + kDigits[byte / 16] + kDigits[byte % 16] + ">";
      tokenizer["model"]["vocab"][token] = 7 + byte;
    }
    return tokenizer;
  }

  std::filesystem::path dir_;
};

}  // namespace quench::model
