#include "model/tokenizer.hpp"

#include <thread>

#include "tests/unit/tokenizer_fixture.hpp"

namespace quench::model {
namespace {

using Ids = std::vector<std::int32_t>;
using nlohmann::json;

class TokenizerTest : public TokenizerFixture {
 protected:
  // The words that a pre-tokenizer makes of `text`: those of words_ by their ids, the others by the
  // ids of their bytes.
  Ids words_of(const json& pre_tokenizer, const std::string& text) const {
    json tokenizer = byte_level();
    tokenizer["pre_tokenizer"] = pre_tokenizer;
    tokenizer["model"]["merges"] = json::array();
    tokenizer["model"]["ignore_merges"] = true;
    for (const auto& [word, id] : words_.items()) tokenizer["model"]["vocab"][word] = id;
    tokenizer["added_tokens"] = json::array();
    return load(tokenizer).encode(text);
  }
  const json words_ = {{"a1", 301}, {"1b", 302}, {"22", 303},
                       {"b2", 304}, {"2c", 305}, {"ab", 306}};
};

TEST_F(TokenizerTest, MergesByRankWithinWords) {
  const Tokenizer tokenizer = load(byte_level());
  EXPECT_EQ(tokenizer.encode("hello hello"), (Ids{259, 260}));
  EXPECT_EQ(tokenizer.encode("hell"), (Ids{256, 257}));
  // The last space belongs to the next word, the others stand together.
  EXPECT_EQ(tokenizer.encode("   hello"), (Ids{261, 260}));
  EXPECT_EQ(tokenizer.encode(""), Ids{});
}

TEST_F(TokenizerTest, SpecialTokensAreFoundInTextAndSkippedInDecoding) {
  const Tokenizer tokenizer = load(byte_level());
  const Ids ids = tokenizer.encode("hello<end><end");
  EXPECT_EQ(ids, (Ids{259, 262, '<', 'e', 'n', 'd'}));
  EXPECT_EQ(tokenizer.decode(ids), "hello<end");
  EXPECT_EQ(tokenizer.decode(ids, false), "hello<end><end");
  EXPECT_TRUE(tokenizer.is_special(262));
  EXPECT_FALSE(tokenizer.is_special(259));
}

TEST_F(TokenizerTest, TellsTokensAndIds) {
  const Tokenizer tokenizer = load(byte_level());
  EXPECT_EQ(tokenizer.vocab_size(), 263);
  EXPECT_EQ(tokenizer.id_to_token(260), "Ġhello");
  EXPECT_EQ(tokenizer.id_to_token(262), "<end>");
  EXPECT_EQ(tokenizer.token_to_id("<end>"), 262);
  EXPECT_EQ(tokenizer.token_to_id("llo"), 258);
  EXPECT_EQ(tokenizer.token_to_id("lloh"), std::nullopt);
  EXPECT_THROW(tokenizer.id_to_token(263), DataError);
  EXPECT_THROW(tokenizer.id_to_token(-1), DataError);
  EXPECT_TRUE(tokenizer.special_prefix().empty());
}

TEST_F(TokenizerTest, BytesThatAreNoTextBecomeReplacementCharacters) {
  const Tokenizer tokenizer = load(byte_level());
  EXPECT_EQ(tokenizer.decode(Ids{0xE2, 0x82, 0xAC}), "€");
  // Three bytes of a cut-off character of four are one subpart; two stray bytes are two.
  EXPECT_EQ(tokenizer.decode(Ids{'a', 0xF0, 0x9F, 0x98, 'b', 0x80, 0xFF}), "a\uFFFDb\uFFFD\uFFFD");
  // A surrogate is ill-formed from its second byte on.
  EXPECT_EQ(tokenizer.decode(Ids{0xED, 0xA0, 0x80}), "\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(tokenizer.decode(Ids{'a', 9999, -5, 'b'}), "ab");
}

TEST_F(TokenizerTest, TextThatIsNotUtf8IsRefusedWithItsOffset) {
  const Tokenizer tokenizer = load(byte_level());
  for (const std::string bad :
       {"ab\x80", "ab\xC0\xAF", "ab\xE2\x82", "ab\xED\xA0\x80", "ab\xF5\x80"}) {
    try {
      tokenizer.encode(bad);
      ADD_FAILURE() << bad;
    } catch (const DataError& error) {
      EXPECT_NE(std::string(error.what()).find("byte 2"), std::string::npos) << error.what();
    }
  }
}

TEST_F(TokenizerTest, SentencePieceStyle) {
  const Tokenizer tokenizer = load(sentence_piece());
  EXPECT_EQ(tokenizer.encode("ab ab"), (Ids{5, 6}));
  EXPECT_EQ(tokenizer.encode("ab", true), (Ids{1, 5}));
  EXPECT_EQ(tokenizer.encode("a<s>b", true), (Ids{1, 3, 1, 4}));
  EXPECT_EQ(tokenizer.special_prefix(), Ids{1});
  EXPECT_TRUE(tokenizer.special_suffix().empty());
  // "é" has no token: its bytes stand for it.
  EXPECT_EQ(tokenizer.encode("aé"), (Ids{3, 7 + 0xC3, 7 + 0xA9}));
  EXPECT_EQ(tokenizer.encode("a\n\n\nb"), (Ids{3, 263, 7 + '\n', 4}));
  EXPECT_EQ(tokenizer.decode(Ids{1, 5, 6, 7 + 0xC3, 7 + 0xA9}), "ab abé");
  // A run of bytes that is no text as a whole: a replacement character a byte.
  EXPECT_EQ(tokenizer.decode(Ids{3, 7 + 'x', 7 + 0xC3, 4}), "a\uFFFD\uFFFDb");
}

TEST_F(TokenizerTest, UnknownCharacters) {
  json tokenizer = sentence_piece();
  tokenizer["model"]["byte_fallback"] = false;
  EXPECT_EQ(load(tokenizer).encode("aééb"), (Ids{3, 0, 4}));
  tokenizer["model"]["fuse_unk"] = false;
  EXPECT_EQ(load(tokenizer).encode("aééb"), (Ids{3, 0, 0, 4}));
  tokenizer["model"]["unk_token"] = nullptr;
  EXPECT_EQ(load(tokenizer).encode("aééb"), (Ids{5}));
}

TEST_F(TokenizerTest, NormalizersAndPrefixes) {
  json tokenizer = sentence_piece();
  const json replace = tokenizer["normalizer"];
  tokenizer["normalizer"] = {{"type", "Sequence"},
                             {"normalizers", {{{"type", "Prepend"}, {"prepend", "▁"}}, replace}}};
  tokenizer["decoder"]["decoders"].push_back(
      {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  const Tokenizer loaded = load(tokenizer);
  EXPECT_EQ(loaded.encode("ab ab"), (Ids{6, 6}));
  EXPECT_EQ(loaded.encode(""), Ids{});
  EXPECT_EQ(loaded.decode(Ids{6, 6}), "ab ab");
}

TEST_F(TokenizerTest, Metaspace) {
  json tokenizer = sentence_piece();
  tokenizer["normalizer"] = nullptr;
  tokenizer["pre_tokenizer"] = {
      {"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", "first"}};
  tokenizer["decoder"] = tokenizer["pre_tokenizer"];
  const Tokenizer first = load(tokenizer);
  EXPECT_EQ(first.encode("ab<s>ab ab"), (Ids{6, 1, 5, 6}));
  EXPECT_EQ(first.decode(Ids{6, 6}), "ab ab");
  tokenizer["pre_tokenizer"]["prepend_scheme"] = "always";
  EXPECT_EQ(load(tokenizer).encode("ab<s>ab"), (Ids{6, 1, 6}));
  tokenizer["pre_tokenizer"]["prepend_scheme"] = "never";
  EXPECT_EQ(load(tokenizer).encode("ab"), (Ids{5}));
}

TEST_F(TokenizerTest, SplitBehaviors) {
  const auto split = [&](const char* behavior, bool invert) {
    return words_of({{"type", "Split"},
                     {"pattern", {{"Regex", "\\d"}}},
                     {"behavior", behavior},
                     {"invert", invert}},
                    "a1b22c");
  };
  EXPECT_EQ(split("Isolated", false), (Ids{'a', '1', 'b', '2', '2', 'c'}));
  EXPECT_EQ(split("Removed", false), (Ids{'a', 'b', 'c'}));
  EXPECT_EQ(split("Removed", true), (Ids{'1', '2', '2'}));
  EXPECT_EQ(split("MergedWithPrevious", false), (Ids{301, 304, '2', 'c'}));
  EXPECT_EQ(split("MergedWithNext", false), (Ids{'a', 302, '2', 305}));
  EXPECT_EQ(split("Contiguous", false), (Ids{'a', '1', 'b', 303, 'c'}));
}

TEST_F(TokenizerTest, DigitsAndWhitespace) {
  EXPECT_EQ(words_of({{"type", "Digits"}, {"individual_digits", true}}, "22"), (Ids{'2', '2'}));
  EXPECT_EQ(words_of({{"type", "Digits"}, {"individual_digits", false}}, "a22"), (Ids{'a', 303}));
  EXPECT_EQ(words_of({{"type", "Whitespace"}}, "ab 22\tab!"), (Ids{306, 303, 306, '!'}));
  EXPECT_EQ(words_of({{"type", "WhitespaceSplit"}}, "ab \n22"), (Ids{306, 303}));
}

// What Oniguruma and PCRE2 hold to be a space, a letter or a digit differs.
TEST_F(TokenizerTest, RegularExpressionsFollowOniguruma) {
  const auto matches = [&](const std::string& regex, const std::string& character) {
    const Ids left =
        words_of({{"type", "Sequence"},
                  {"pretokenizers",
                   {{{"type", "Split"}, {"pattern", {{"Regex", regex}}}, {"behavior", "Removed"}},
                    {{"type", "ByteLevel"}, {"add_prefix_space", false}}}}},
                 character);
    return left.empty();
  };
  EXPECT_TRUE(matches("\\s", "\u2003"));
  EXPECT_FALSE(matches("\\s", "\u180E"));
  EXPECT_TRUE(matches("[^\\s]", "\u180E"));
  EXPECT_TRUE(matches("\\S", "\u180E"));
  EXPECT_TRUE(matches("\\p{L}", "\U00010D50"));         // assigned in Unicode 16
  EXPECT_FALSE(matches("[^\\r\\p{L}]", "\U00031350"));  // in Unicode 15
  EXPECT_TRUE(matches("\\p{N}", "Ⅷ"));
  EXPECT_TRUE(matches("(?i:'s)", "'ſ"));
  EXPECT_TRUE(matches("\\v", "\x0B"));
  EXPECT_FALSE(matches("\\v", "\n"));
}

TEST_F(TokenizerTest, AddedTokenFlags) {
  json tokenizer = byte_level();
  json token = added(263, "<t>", true);
  token["lstrip"] = token["rstrip"] = true;
  json word = added(264, "cat", false);
  word["single_word"] = true;
  tokenizer["added_tokens"].insert(
      tokenizer["added_tokens"].end(),
      {token, word, added(265, "ca", false), added(266, "<end>>", true)});
  const Tokenizer loaded = load(tokenizer);
  EXPECT_EQ(loaded.encode("a \t<t>\u2003 b"), (Ids{'a', 263, 'b'}));
  EXPECT_EQ(loaded.encode("cat"), Ids{264});
  // The longest match is taken, and given up if it is no word, without a look at shorter ones.
  EXPECT_EQ(loaded.encode("cats"), (Ids{'c', 'a', 't', 's'}));
  EXPECT_EQ(loaded.encode("cab"), (Ids{265, 'b'}));
  EXPECT_EQ(loaded.encode("<end>>"), Ids{266});
}

TEST_F(TokenizerTest, WhiteSpaceTokensTakenByATokenBeforeAreGone) {
  json tokenizer = byte_level();
  json newline = added(263, "\n", true);
  newline["lstrip"] = newline["rstrip"] = true;
  tokenizer["added_tokens"].push_back(newline);
  EXPECT_EQ(load(tokenizer).encode("a\n\n \n b\nc"), (Ids{'a', 263, 'b', 263, 'c'}));
}

TEST_F(TokenizerTest, NormalizedAddedTokensMatchNormalizedText) {
  json tokenizer = sentence_piece();
  tokenizer["added_tokens"].push_back(added(264, "b b", false));
  const Tokenizer loaded = load(tokenizer);
  EXPECT_EQ(loaded.encode("ab b b"), (Ids{3, 264, 2, 4}));
  EXPECT_EQ(loaded.id_to_token(264), "b b");
  EXPECT_EQ(loaded.decode(Ids{3, 264, 2, 4}), "ab b b");
}

TEST_F(TokenizerTest, LongRunsAreLinear) {
  constexpr std::size_t kLength = 1'000'000;
  const Tokenizer bytes = load(byte_level());
  EXPECT_EQ(bytes.encode(std::string(kLength, ' ')).size(), kLength / 2);
  EXPECT_EQ(bytes.encode(std::string(kLength, 'x')).size(), kLength);
  EXPECT_EQ(bytes.encode(std::string(kLength, '<')).size(), kLength);
  json tokenizer = sentence_piece();
  EXPECT_EQ(load(tokenizer).encode(std::string(kLength, 'a')).size(), kLength);
  EXPECT_EQ(load(tokenizer).encode(std::string(kLength, '\n')).size(), kLength / 2);
}

TEST_F(TokenizerTest, ThreadsShareOneTokenizer) {
  const Tokenizer tokenizer = load(byte_level());
  std::vector<Ids> found(4);
  std::vector<std::thread> threads;
  for (Ids& ids : found) {
    threads.emplace_back([&tokenizer, &ids] {
      for (int i = 0; i < 200; ++i) ids = tokenizer.encode("hello  hello<end>");
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Ids& ids : found) EXPECT_EQ(ids, (Ids{259, ' ', 260, 262}));
}

}  // namespace
}  // namespace quench::model
