#include <set>

#include "cluster/random.hpp"
#include "stages/tasks/task.hpp"
#include "tests/unit/corpus_fixture.hpp"

namespace quench::corpus {
namespace {

using namespace testing;

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
  const auto& offsets = corpus.probe_offsets();
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
  EXPECT_EQ(probes[1].asked, "O3 E?");
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
  const auto instruction = select(corpus.shared_probes(), ProbeKind::instruction)[0];
  EXPECT_EQ(instruction.context, turn("Do it."));
  EXPECT_EQ(instruction.asked, "Do it.");  // without the turn around it
  EXPECT_EQ(select(probes, ProbeKind::open)[1].asked, "O3 E?");

  Options plain;
  plain.prompt_style = "plain";
  EXPECT_EQ(select(Corpus(make(1, 1, plain)).probes(1), ProbeKind::choice)[0].context,
            Ids{bos} + bytes("Question: O1 E?\nAnswer:"));
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

  const auto shared = read_shared(catalog_);
  EXPECT_EQ(tasks::missing_examples(shared, 0), "");
  EXPECT_EQ(tasks::missing_examples(shared, 1), "");
  EXPECT_TRUE(tasks::missing_examples(shared, 2).starts_with(
      "corpus.shots = 2: 1 of 2 general questions have fewer examples "
      "before them, 0 of these none"));
  write("general.jsonl", {mmlu("G1?", "art", 0, "train"), mmlu("G2?", "law", 0, "test")});
  EXPECT_TRUE(tasks::missing_examples(read_shared(catalog_), 5)
                  .starts_with("corpus.shots = 5: 2 of 2 general questions have fewer examples "
                               "before them, 2 of these none"));
}

}  // namespace
}  // namespace quench::corpus
