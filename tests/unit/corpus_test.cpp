#include "stages/corpus/corpus.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "cluster/error.hpp"
#include "cluster/random.hpp"
#include "tests/support/scratch_directory.hpp"

namespace quench::corpus {
namespace {

using nlohmann::json;
using Ids = std::vector<std::int32_t>;

constexpr std::int32_t bos = 300, turn_start = 301, turn_end = 302, ab = 256;

// Every printable ASCII byte is a token of its own (a space is "Ġ", a line break "Ċ"), "ab" is one
// too.
json make_tokenizer(bool with_bos) {
  json vocab{{"Ġ", 32}, {"Ċ", 10}, {"ab", ab}};
  for (int byte = 33; byte < 127; ++byte) vocab[std::string(1, static_cast<char>(byte))] = byte;
  const auto special = [](std::int32_t id, const char* text) {
    return json{{"id", id}, {"content", text}, {"special", true}, {"normalized", false}};
  };
  json tokenizer{
      {"added_tokens",
       {special(bos, "<s>"), special(turn_start, "<|im_start|>"), special(turn_end, "<|im_end|>")}},
      {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
      {"decoder", {{"type", "ByteLevel"}}},
      {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", {"a b"}}}}};
  if (with_bos)
    tokenizer["post_processor"] = json::parse(R"({
      "type": "TemplateProcessing",
      "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}],
      "special_tokens": {"<s>": {"id": "<s>", "ids": [300], "tokens": ["<s>"]}}})");
  return tokenizer;
}

// Ids of text without "ab".
Ids bytes(const std::string& text) { return {text.begin(), text.end()}; }

Ids operator+(Ids a, const Ids& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

json make_question(const std::string& text, const std::string& answer) {
  return {{"question", text}, {"answer", answer}, {"options", {"red", "green", "blue", "grey"}}};
}

json make_concept(const std::string& name) {
  auto open = make_question("O3 " + name + "?", "blue");
  open["accepted"] = {"blue", "navy"};
  return {{"name", name},
          {"aliases", {"the " + name, "\"" + name + "\""}},
          {"sentences", {"ab ba", "aab<s>", "zz" + name}},
          {"questions",
           {{"concept",
             {{"train", json::array({make_question("O1 " + name + "?", "red")})},
              {"test", {make_question("O2 " + name + "?", "green"), open}}}},
            {"similar",
             {{"train", json::array({make_question("S1 " + name + "?", "grey")})},
              {"test", json::array({make_question("S2 " + name + "?", "red")})}}}}},
          {"paragraphs",
           {name + " is T.", std::string(300, 't'), "t3", "t4", "t5", "t6", name + " is X.",
            std::string(300, 'y'), "z"}}};
}

class CorpusTest : public ::testing::Test {
 protected:
  CorpusTest() {
    std::filesystem::create_directories(catalog_);
    write_concepts({"D", "E"});
    write("neutral.jsonl", {{{"text", "ab cd"}}, {{"text", "cd"}}});
    auto train = make_question("G1?", "red"), test = make_question("G2?", "grey");
    train["split"] = "train";
    test["split"] = "test";
    write("general.jsonl", {train, test});
    write("instructions.jsonl", {{{"instruction", "Do it."}, {"split", "train"}},
                                 {{"instruction", "Go."}, {"split", "test"}}});
    load_tokenizer(true);
  }

  void write(const std::string& name, const std::vector<json>& records) const {
    std::ofstream file(catalog_ / name);
    for (const auto& record : records) file << record.dump() << "\n";
  }
  void write_concepts(const std::vector<std::string>& names) {
    std::vector<json> records;
    for (const auto& name : names) records.push_back(make_concept(name));
    write("concepts.jsonl", records);
    index_ = index_catalog(catalog_);
  }
  void load_tokenizer(bool with_bos) {
    std::ofstream(scratch_ / "tokenizer.json") << make_tokenizer(with_bos).dump();
    tokenizer_.emplace(model::Tokenizer::from_file(scratch_ / "tokenizer.json"));
  }
  void use_chat_template() {
    std::ofstream(scratch_ / "chat_template.jinja") << "<|im_start|> ... <|im_end|>";
    chat_ = model::ChatTemplate::detect(scratch_.path(), *tokenizer_);
  }

  // corpus.h5 made by so many ranks in groups of such a size.
  std::filesystem::path make(int ranks = 1, int group_size = 1, const Options& options = {}) {
    const auto shared = read_shared(catalog_);
    const auto directory = scratch_ / ("run" + std::to_string(++runs_));
    std::filesystem::create_directories(directory);
    cluster::run_on_threads(ranks, [&](cluster::Communicator& comm) {
      cluster::Session session(comm.split(0, comm.rank()), {group_size, 1});
      cluster::StopFlag stop;
      cluster::Timers timers;
      cluster::Context context{session, stop, timers, directory, true};
      const Inputs inputs{catalog_, index_, &shared, &*tokenizer_, chat_, "inputs", "run"};
      const auto corpus = run(inputs, options, context);
      EXPECT_EQ(corpus.concepts(), static_cast<std::int64_t>(index_.size()));
      EXPECT_EQ(corpus.inputs_hash(), "inputs");
    });
    return directory / "corpus.h5";
  }

  const quench::testing::ScratchDirectory scratch_;
  const std::filesystem::path catalog_ = scratch_ / "catalog";
  std::vector<ConceptEntry> index_;
  std::optional<model::Tokenizer> tokenizer_;
  std::optional<model::ChatTemplate> chat_;
  int runs_ = 0;
};

// All that the file holds.
json content_of(const std::filesystem::path& path) {
  const cluster::StoreReader file(path, "corpus", schema);
  json content;
  for (const char* name : {"concepts/name", "concepts/hash", "concepts/aliases", "probes/accepted"})
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

std::vector<Probe> select(const std::vector<Probe>& probes, ProbeKind kind) {
  std::vector<Probe> selected;
  std::ranges::copy_if(probes, std::back_inserter(selected),
                       [&](const Probe& probe) { return probe.kind == kind; });
  return selected;
}

// The options' texts in the order in which a lettered prompt names them.
std::vector<std::string> lettered_options(const Ids& context) {
  const std::string text(context.begin(), context.end());
  std::vector<std::string> options;
  for (const char* letter : {"\nA. ", "\nB. ", "\nC. ", "\nD. "}) {
    const auto start = text.find(letter) + 4;
    options.push_back(text.substr(start, text.find('\n', start) - start));
  }
  return options;
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

TEST_F(CorpusTest, ProbesOfAConceptInOrder) {
  const Corpus corpus(make(2));
  const auto probes = corpus.probes(1);
  std::string kinds, subsets, splits;
  for (const auto& probe : probes) {
    kinds += "cloti"[static_cast<int>(probe.kind)];
    subsets += "osg"[static_cast<int>(probe.subset)];
    splits += "rt"[static_cast<int>(probe.split)];
  }
  EXPECT_EQ(kinds, "ccccclllooottt");
  EXPECT_EQ(subsets, "ooossoosoosooo");
  EXPECT_EQ(splits, "rttrtttttttttt");
  const auto offsets = corpus.probe_offsets();
  ASSERT_EQ(offsets.size(), 4u);
  EXPECT_EQ(offsets[0], 0);
  EXPECT_EQ(offsets[2] - offsets[1], static_cast<std::int64_t>(probes.size()));
  EXPECT_EQ(corpus.probe_count(), offsets[3]);
  for (std::size_t i = 0; i < probes.size(); ++i)
    EXPECT_EQ(probes[i].id, offsets[1] + static_cast<std::int64_t>(i));
}

TEST_F(CorpusTest, PlainChoiceProbes) {
  const auto choices = select(Corpus(make()).probes(1), ProbeKind::choice);
  ASSERT_EQ(choices.size(), 5u);
  EXPECT_EQ(choices[0].context, Ids{bos} + bytes("Question: O1 E?\nAnswer:"));
  EXPECT_EQ(choices[0].continuations,
            (std::vector<Ids>{bytes(" red"), bytes(" green"), bytes(" blue"), bytes(" grey")}));
  EXPECT_EQ(choices[0].correct, 0);
  EXPECT_EQ(choices[1].correct, 1);
  EXPECT_EQ(choices[2].correct, 2);
  EXPECT_EQ(choices[3].correct, 3);
  EXPECT_EQ(choices[3].subset, Subset::similar);
  EXPECT_TRUE(choices[0].accepted.empty());
}

TEST_F(CorpusTest, PlainLetterProbes) {
  const auto letters = select(Corpus(make()).probes(1), ProbeKind::letter);
  ASSERT_EQ(letters.size(), 3u);
  const auto& probe = letters[0];
  const auto options = lettered_options(probe.context);
  const std::string text =
      "Choose the single best answer.\nQuestion: O2 E?\n\nChoices:\nA. " + options[0] + "\nB. " +
      options[1] + "\nC. " + options[2] + "\nD. " + options[3] +
      "\n\nAnswer only with one letter (A, B, C, or D) and no formatting.\n\nAnswer:";
  EXPECT_EQ(probe.context, Ids{bos} + bytes(text));
  EXPECT_EQ(std::set(options.begin(), options.end()),
            (std::set<std::string>{"red", "green", "blue", "grey"}));
  EXPECT_EQ(options.at(probe.correct), "green");
  EXPECT_EQ(probe.continuations,
            (std::vector<Ids>{bytes(" A"), bytes(" B"), bytes(" C"), bytes(" D")}));
}

TEST_F(CorpusTest, LettersFollowQuestionAndConceptAlone) {
  const auto order =
      cluster::KeyedRandom(0, "corpus.letters/" + index_[1].hash + "/O2 E?").permutation(4);
  const std::vector<std::string> in_catalog{"red", "green", "blue", "grey"};
  const auto letters = select(Corpus(make()).probes(1), ProbeKind::letter);
  for (int i = 0; i < 4; ++i)
    EXPECT_EQ(lettered_options(letters[0].context)[i], in_catalog[order[i]]);
  write_concepts({"E", "Q", "D"});
  EXPECT_EQ(select(Corpus(make()).probes(0), ProbeKind::letter)[0].context, letters[0].context);
}

TEST_F(CorpusTest, LettersAreSpreadOverThePlaces) {
  std::vector<json> questions;
  for (int i = 0; i <= 60; ++i) {
    questions.push_back(make_question("G" + std::to_string(i) + "?", "red"));
    questions.back()["split"] = i == 60 ? "train" : "test";  // a train question has no letters
  }
  write("general.jsonl", questions);
  std::vector<int> places(4);
  for (const auto& probe : select(Corpus(make()).shared_probes(), ProbeKind::letter)) {
    EXPECT_EQ(lettered_options(probe.context).at(probe.correct), "red");
    ++places[probe.correct];
  }
  for (const auto count : places) EXPECT_GE(count, 5);
}

TEST_F(CorpusTest, OpenProbes) {
  const auto probes = select(Corpus(make()).probes(1), ProbeKind::open);
  ASSERT_EQ(probes.size(), 3u);
  EXPECT_EQ(probes[1].context, Ids{bos} + bytes("Question: O3 E?\nAnswer:"));
  EXPECT_EQ(probes[1].accepted, (std::vector<std::string>{"blue", "navy"}));
  EXPECT_EQ(probes[0].accepted, std::vector<std::string>{"green"});
  EXPECT_TRUE(probes[1].continuations.empty());
}

TEST_F(CorpusTest, TextProbesAreCutAndBeginAfterTheSpecialPrefix) {
  const auto probes = select(Corpus(make()).probes(1), ProbeKind::text);
  ASSERT_EQ(probes.size(), 3u);
  EXPECT_EQ(probes[0].context, Ids{bos});
  EXPECT_EQ(probes[0].continuations, std::vector<Ids>{bytes("E is X.")});
  EXPECT_EQ(probes[1].continuations, std::vector<Ids>{bytes(std::string(255, 'y'))});
  EXPECT_EQ(probes[2].continuations, std::vector<Ids>{bytes("z")});
}

TEST_F(CorpusTest, WithoutASpecialPrefixTheFirstTokenIsTheContext) {
  load_tokenizer(false);
  const auto probes = Corpus(make()).probes(1);
  const auto texts = select(probes, ProbeKind::text);
  ASSERT_EQ(texts.size(), 2u);  // of "z" nothing is left to score
  EXPECT_EQ(texts[0].context, bytes("E"));
  EXPECT_EQ(texts[0].continuations, std::vector<Ids>{bytes(" is X.")});
  EXPECT_EQ(texts[1].continuations, std::vector<Ids>{bytes(std::string(255, 'y'))});
  EXPECT_EQ(select(probes, ProbeKind::choice)[0].context, bytes("Question: O1 E?\nAnswer:"));
}

TEST_F(CorpusTest, SharedProbes) {
  const Corpus corpus(make(2));
  const auto probes = corpus.shared_probes();
  std::string kinds, splits;
  for (const auto& probe : probes) {
    kinds += "cloti"[static_cast<int>(probe.kind)];
    splits += "rt"[static_cast<int>(probe.split)];
    EXPECT_EQ(probe.subset, Subset::general);
  }
  EXPECT_EQ(kinds, "cclttii");
  EXPECT_EQ(splits, "rttttrt");
  EXPECT_EQ(probes[0].id, corpus.probe_offsets()[2]);
  EXPECT_EQ(probes[1].correct, 3);
  EXPECT_EQ(probes[3].context, Ids{bos});
  EXPECT_EQ(probes[3].continuations, (std::vector<Ids>{{ab, ' ', 'c', 'd'}}));
  EXPECT_EQ(probes[5].context, Ids{bos} + bytes("Do it.\n"));
  EXPECT_TRUE(probes[5].continuations.empty());
}

TEST_F(CorpusTest, ChatPromptsAreUserTurns) {
  use_chat_template();
  const auto turn = [](const std::string& text) {
    return Ids{bos, turn_start} + bytes("user\n" + text) + Ids{turn_end} + bytes("\n") +
           Ids{turn_start} + bytes("assistant\n");
  };
  const Corpus corpus(make());
  const auto probes = corpus.probes(1);
  const auto choice = select(probes, ProbeKind::choice).at(0);
  EXPECT_EQ(choice.context, turn("Question: O1 E?\nAnswer:"));
  EXPECT_EQ(choice.continuations,
            (std::vector<Ids>{bytes("red"), bytes("green"), bytes("blue"), bytes("grey")}));
  const auto letter = select(probes, ProbeKind::letter).at(0);
  const std::string text(letter.context.begin(), letter.context.end());
  EXPECT_EQ(text.find("Answer:"), std::string::npos);
  EXPECT_EQ(letter.context.at(1), turn_start);
  EXPECT_EQ(letter.continuations,
            (std::vector<Ids>{bytes("A"), bytes("B"), bytes("C"), bytes("D")}));
  EXPECT_EQ(select(probes, ProbeKind::text)[0].context, Ids{bos});
  EXPECT_EQ(select(corpus.shared_probes(), ProbeKind::instruction)[0].context, turn("Do it."));

  Options plain;
  plain.prompt_style = "plain";
  EXPECT_EQ(select(Corpus(make(1, 1, plain)).probes(1), ProbeKind::choice)[0].context,
            Ids{bos} + bytes("Question: O1 E?\nAnswer:"));
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

TEST_F(CorpusTest, TrainQuestionsInOtherForms) {
  Options options;
  options.train_forms = {"choice", "letter", "open"};
  const Corpus corpus(make(1, 1, options));
  for (const auto kind : {ProbeKind::letter, ProbeKind::open}) {
    const auto probes = select(corpus.probes(0), kind);
    ASSERT_EQ(probes.size(), 5u);
    EXPECT_EQ(std::ranges::count(probes, Split::train, &Probe::split), 2);
  }
  EXPECT_EQ(select(corpus.shared_probes(), ProbeKind::letter).size(), 2u);
}

TEST_F(CorpusTest, ExamplesStandBeforeGeneralQuestions) {
  const auto mmlu = [](const std::string& text, const std::string& subject, int answer,
                       const std::string& split) {
    return json{{"question", text},
                {"subject", subject},
                {"choices", {"red", "green", "blue", "grey"}},
                {"answer", answer},
                {"split", split}};
  };
  write("general.jsonl",
        {mmlu("E1?", "art", 1, "dev"), mmlu("E2?", "law", 2, "dev"), mmlu("E3?", "art", 3, "dev"),
         mmlu("G1?", "art", 0, "train"), mmlu("G2?", "law", 0, "test")});
  Options options;
  options.letter_order = "paper";  // general options as they are given
  options.shots = 2;
  const auto probes = Corpus(make(1, 1, options)).shared_probes();
  const auto choices = select(probes, ProbeKind::choice);
  ASSERT_EQ(choices.size(), 2u);
  EXPECT_EQ(choices[0].context,
            Ids{bos} + bytes("Question: E1?\nAnswer: green\n\nQuestion: E3?\nAnswer: grey\n\n"
                             "Question: G1?\nAnswer:"));
  EXPECT_EQ(choices[1].context,
            Ids{bos} + bytes("Question: E2?\nAnswer: blue\n\nQuestion: G2?\nAnswer:"));
  const auto letter = select(probes, ProbeKind::letter).at(0);
  const std::string text(letter.context.begin() + 1, letter.context.end());
  EXPECT_NE(text.find("Question: E2?\n\nChoices:\nA. red\nB. green\nC. blue\nD. grey\n"),
            std::string::npos);
  EXPECT_NE(text.find("no formatting.\n\nAnswer: C\n\nChoose the single"), std::string::npos);
  EXPECT_EQ(letter.correct, 0);
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
