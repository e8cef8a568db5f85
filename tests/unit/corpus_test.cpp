#include "stages/corpus/corpus.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "cluster/error.hpp"
#include "tests/unit/corpus_fixture.hpp"

namespace quench::corpus {
namespace {

using namespace testing;

// All that the file holds.
json content_of(const std::filesystem::path& path) {
  const cluster::StoreReader file(path, "corpus", schema);
  json content;
  for (const char* name :
       {"concepts/name", "concepts/hash", "concepts/aliases", "probes/accepted", "probes/asked"})
    content[name] = file.read_strings(name);
  for (const char* name : {"concepts/sentence_count", "neutral/sentence_count", "probes/concept",
                           "probe_offsets", "paragraph_offsets", "sentence_offsets"})
    content[name] = file.read<std::int64_t>(name);
  for (const char* name : {"neutral/ids", "neutral/counts", "probes/correct"})
    content[name] = file.read<std::int32_t>(name);
  for (const char* name : {"probes/kind", "probes/subset", "probes/split"})
    content[name] = file.read<std::uint8_t>(name);
  for (const char* name :
       {"frequencies/ids", "frequencies/counts", "probes/context", "probes/continuations",
        "probes/continuation_lengths", "paragraphs/tokens", "sentences/tokens"})
    content[name] = file.read_ragged<std::int32_t>(name);
  content["failures"] = file.number_attribute("/", "failures");
  return content;
}

TEST_F(CorpusTest, TheSameFileOnAnyNumberOfRanks) {
  write_concepts({"D", "E", "F/\"G\""});
  const auto alone = content_of(make());
  EXPECT_EQ(alone["concepts/name"], (json{"D", "E", "F/\"G\""}));
  EXPECT_EQ(alone["failures"], 0);
  EXPECT_EQ(alone["probe_offsets"].size(), 5u);
  EXPECT_EQ(content_of(make(2)), alone);
  EXPECT_EQ(content_of(make(3)), alone);
  EXPECT_EQ(content_of(make(2, 2)), alone);
  EXPECT_EQ(content_of(make(5)), alone);  // ranks without a concept
}

TEST_F(CorpusTest, NoJournalsAreLeft) {
  const auto file = make(2);
  EXPECT_FALSE(std::filesystem::exists(file.parent_path() / "journals" / "corpus"));
}

TEST_F(CorpusTest, NamesAndAliases) {
  const Corpus corpus(make(2));
  EXPECT_EQ(corpus.name(1), "E");
  EXPECT_EQ(corpus.hash(1), index_[1].hash);
  EXPECT_EQ(corpus.aliases(1), (std::vector<std::string>{"the E", "\"E\""}));
}

TEST_F(CorpusTest, DocumentFrequenciesCountSentences) {
  const Corpus corpus(make(2));
  // "ab ba": ab, space, b, a; "aab<s>": a, ab, and <s>, which is special; "zzE": z, E.
  const auto own = corpus.frequencies(1);
  EXPECT_EQ(own.sentences, 3);
  EXPECT_EQ(own.ids, (Ids{' ', 'E', 'a', 'b', 'z', ab}));
  EXPECT_EQ(own.counts, (Ids{1, 1, 2, 1, 1, 2}));
  const auto neutral = corpus.neutral_frequencies();  // "ab cd", "cd"
  EXPECT_EQ(neutral.sentences, 2);
  EXPECT_EQ(neutral.ids, (Ids{' ', 'c', 'd', ab}));
  EXPECT_EQ(neutral.counts, (Ids{1, 2, 2, 1}));
}

TEST_F(CorpusTest, ChatPromptsNeedATemplate) {
  Options options;
  options.prompt_style = "chat";
  EXPECT_THROW(make(2, 1, options), ConfigError);
}

TEST_F(CorpusTest, LetterAndOpenCanBeLeftOut) {
  Options options;
  options.letter = false;
  options.open = false;
  const Corpus corpus(make(1, 1, options));
  EXPECT_EQ(corpus.probes(0).size(), 8u);
  EXPECT_EQ(corpus.shared_probes().size(), 6u);
  EXPECT_TRUE(select(corpus.probes(0), ProbeKind::letter).empty());
  EXPECT_TRUE(select(corpus.probes(0), ProbeKind::open).empty());
}

TEST_F(CorpusTest, ParagraphsAreWholeAndBeginWithThePrefix) {
  const Corpus corpus(make(2));
  const auto paragraphs = corpus.paragraphs(1);
  ASSERT_EQ(paragraphs.size(), 6u);  // the last third is held out
  EXPECT_EQ(paragraphs[0], Ids{bos} + bytes("E is T."));
  EXPECT_EQ(paragraphs[1], Ids{bos} + bytes(std::string(300, 't')));
}

TEST_F(CorpusTest, SentencesInOrderWithoutThePrefix) {
  const Corpus corpus(make(2));
  EXPECT_EQ(corpus.sentences(1),
            (std::vector<Ids>{Ids{ab, ' ', 'b', 'a'}, Ids{'a', ab, bos}, bytes("zzE")}));
  EXPECT_EQ(corpus.neutral_sentences(), (std::vector<Ids>{Ids{ab, ' ', 'c', 'd'}, bytes("cd")}));
}

TEST_F(CorpusTest, ACatalogThatChangedIsRefused) {
  write("concepts.jsonl", {make_concept("X"), make_concept("E")});
  try {
    make(2);
    FAIL();
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("'D'"), std::string::npos) << error.what();
    EXPECT_EQ(std::string(error.what()).find("'E'"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace quench::corpus
