// What selection reads and asks beside its factors: files of a person, a judge, word frequencies,
// and texts of tokens.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "cluster/error.hpp"
#include "stages/batch_format.hpp"
#include "stages/selection/general.hpp"
#include "stages/selection/judge.hpp"
#include "stages/selection/manual.hpp"
#include "stages/selection/roundtrip.hpp"
#include "stages/selection/variants.hpp"
#include "tests/support/scratch_directory.hpp"

namespace quench::selection {
namespace {

using nlohmann::json;
using quench::testing::ScratchDirectory;
using Ids = std::vector<std::int32_t>;

std::filesystem::path written(const ScratchDirectory& directory, const std::string& text) {
  std::ofstream(directory / "file") << text;
  return directory / "file";
}

template <typename Call>
std::string message_of(const Call& call) {
  try {
    call();
  } catch (const DataError& error) {
    return error.what();
  }
  return "";
}

ConceptNames names_of(const std::vector<std::vector<std::string>>& concepts) {
  ConceptNames names("the run");
  for (const auto& all : concepts) names.add(all.front(), std::span(all).subspan(1));
  return names;
}

const ManualLimits limits{names_of({{"Golf", "golfing"}, {"Tea"}, {"Gun"}}), 8, 100};

TEST(Manual, ReadsListsByNameOrAlias) {
  const ScratchDirectory directory;
  const auto decisions =
      read_manual(written(directory,
                          "{\"concept\": \"Gun\", \"tokens\": [7, 3]}\n\n"
                          "{\"concept\": \"golfing\", \"features\": [5], \"tokens\": []}\r\n"),
                  limits);
  ASSERT_EQ(decisions.size(), 3U);
  EXPECT_EQ(decisions[0].features, Ids{5});
  EXPECT_EQ(decisions[0].tokens, Ids{});
  EXPECT_FALSE(decisions[1].features || decisions[1].tokens);
  EXPECT_FALSE(decisions[2].features);
  EXPECT_EQ(decisions[2].tokens, (Ids{3, 7}));
}

TEST(Manual, ANameGoesBeforeAliases) {
  const ScratchDirectory directory;
  const ManualLimits names{
      names_of({{"Potter", "Hogwarts", "school"}, {"Hogwarts"}, {"Tea", "school"}}), 8, 100};
  const auto decisions = read_manual(written(directory,
                                             "{\"concept\": \"Hogwarts\", \"features\": [3]}\n"
                                             "{\"concept\": \"Potter\", \"features\": [4]}\n"),
                                     names);
  EXPECT_EQ(decisions[0].features, Ids{4});
  EXPECT_EQ(decisions[1].features, Ids{3});
  const auto what = message_of([&] {
    read_manual(written(directory, "{\"concept\": \"school\", \"features\": [3]}\n"), names);
  });
  EXPECT_NE(what.find("'school' is an alias of several concepts; give the name of one: 'Potter', "
                      "'Tea'"),
            std::string::npos)
      << what;
}

TEST(Manual, TellsEveryProblemWithLineAndField) {
  const ScratchDirectory directory;
  const auto what = message_of([&] {
    read_manual(written(directory,
                        "{\"concept\": \"Golf\", \"features\": [8], \"tokens\": [100, 4, -1]}\n"
                        "{\"concept\": \"Golff\", \"features\": [1]}\n"
                        "not JSON\n"
                        "{\"concept\": \"Tea\", \"feature\": [1]}\n"
                        "{\"concept\": \"golfing\", \"features\": [1, 2, 1]}\n"
                        "{\"features\": 3}\n"
                        "{\"concept\": \"Gun\", \"features\": [1.5, \"2\"]}\n"),
                limits);
  });
  for (const char* part :
       {"line 1, field features: 8 is no id: whole numbers from 0 to 7",
        "line 1, field tokens: 100 is no id", "line 1, field tokens: -1 is no id",
        "line 2, field concept: 'Golff' is not among the run's 3 concepts; the nearest "
        "name is 'Golf'",
        "line 3: is no JSON object", "line 4, field feature: unknown field",
        "line 4, field features: missing", "line 5, field concept: 'golfing' has a line already",
        "line 5, field features: 1 stands there twice", "line 6, field concept: must be the name",
        "line 6, field features: must be a list", "line 7, field features: 1.5 is no id",
        "line 7, field features: \"2\" is no id"})
    EXPECT_NE(what.find(part), std::string::npos) << part << "\n" << what;
  EXPECT_THROW(read_manual(directory / "missing", limits), DataError);
}

TEST(Frequencies, FileAndBuiltIn) {
  const ScratchDirectory directory;
  const auto words = read_frequencies(written(directory, "# words\nthe\t500000\r\ngolf\t250\n"));
  ASSERT_EQ(words.size(), 2U);
  EXPECT_EQ(words[1].word, "golf");
  EXPECT_DOUBLE_EQ(words[1].share, 0.00025);
  for (const auto& pair :
       std::map<std::string, std::string>{{"a\t1\ngolf 3\n", "line 2, field word"},
                                          {"golf\t3x\n", "line 1, field count: '3x'"},
                                          {"golf\t-1\n", "field count: '-1'"},
                                          {"golf\t2000000\n", "field count"},
                                          {"golf\t\n", "field count"}}) {
    const auto &text = pair.first, &part = pair.second;
    const auto what = message_of([&] { read_frequencies(written(directory, text)); });
    EXPECT_NE(what.find(part), std::string::npos) << what;
  }
  const auto built_in = read_frequencies({});
  EXPECT_GT(built_in.size(), 20000U);
  EXPECT_EQ(built_in[0].word, "the");
  EXPECT_GT(built_in[0].share, 0.5);
}

TEST(Frequencies, WordsCountForEachOfTheirTokens) {
  // Token 1 is of both words, 2 of the first, 3 of capitalised forms, 4 too rare to count.
  const std::vector<WordFrequency> words = {{"golf", 0.5}, {"golfer", 0.2}, {"rare", 1e-5}};
  const auto general = general_frequencies(
      words,
      [](const std::string& text) {
        if (text.ends_with("rare")) return Ids{4};
        Ids ids = {1};
        if (text == " golf") ids.push_back(2);
        if (text == "Golfer") ids.push_back(3);
        return ids;
      },
      1000);
  EXPECT_EQ(general.sentences, 1000);
  EXPECT_EQ(general.ids, (Ids{1, 2, 3}));
  EXPECT_EQ(general.counts, (Ids{600, 500, 200}));  // 1 - 0.5 x 0.8
}

TEST(LabelsByString, FirstStringWinsAndPiecesMustBeText) {
  // Tokens 10 and 11 decode to the same string; 12 is a piece that is not its own text; 13 has a
  // line break; 14 has no coefficient.
  Factors factors;
  factors.tokens = {10, 11, 12, 13, 14};
  factors.width = 1;
  factors.rank = 2;
  factors.features = {1, 1};
  factors.rows = {0, 1, 2, 3};
  factors.coefficients = {1, 2, 1, -1};
  const std::vector<Label> labels = {Label::neutral, Label::own, Label::own, Label::own,
                                     Label::own};
  const std::map<std::int32_t, std::string> decoded = {
      {10, " a"}, {11, " a"}, {12, "é"}, {13, "x\n"}, {14, "b"}};
  const std::map<std::int32_t, std::string> pieces = {
      {10, "\u2581a"}, {11, "\u0120a"}, {12, "Ã©"}, {13, "x\n"}, {14, "b"}};
  EXPECT_EQ(
      labels_by_string(
          factors, labels, [&](auto id) { return decoded.at(id); },
          [&](auto id) { return pieces.at(id); }),
      (std::vector<Label>{Label::own, Label::own, Label::neither, Label::own, Label::neither}));
}

TEST(LabelsByString, TheStrongest200OfAFeature) {
  Factors factors;
  factors.width = factors.rank = 1;
  factors.features = {1};
  for (std::int32_t i = 0; i < 205; ++i) {
    factors.tokens.push_back(i);
    factors.rows.push_back(i);
    factors.coefficients.push_back(static_cast<float>(i + 1));
  }
  const auto text = [](std::int32_t id) { return "t" + std::to_string(id); };
  const auto found = labels_by_string(factors, std::vector<Label>(205, Label::own), text, text);
  for (std::int32_t i = 0; i < 205; ++i)
    EXPECT_EQ(found[i], i < 5 ? Label::neither : Label::own) << i;
}

TEST(Variants, Letters) {
  EXPECT_EQ(letters_of("  GolfÉ"), U"golfé");
  EXPECT_EQ(letters_of(" МОСКВА"), U"москва");
  EXPECT_EQ(letters_of("東京"), U"東京");
  for (const char* none : {"", "  ", "golf1", "golf-", "go lf", "\uFFFDx", "\xFFgolf", "“golf"})
    EXPECT_TRUE(letters_of(none).empty()) << none;
}

TEST(Variants, SameLettersButForCaseSpaceAndPlural) {
  const std::vector<std::string> vocab = {
      " golf",   "Golf",   " GOLF",    "golfs", " golfes", "golfer", "gun",      "Gun", " gun",
      " wolves", " glass", " glasses", " ol",   "ol",      " golf.", " classes", "gunS"};
  const WordIndex index(static_cast<std::int64_t>(vocab.size()),
                        [&](auto id) { return vocab[id]; });
  EXPECT_EQ(index.same_letters(0), (Ids{1, 2, 3}));
  EXPECT_EQ(index.same_letters(1), (Ids{0, 2, 3}));  // capitalised: a word's beginning
  EXPECT_EQ(index.same_letters(3), Ids{});  // no space before it: perhaps the end of a word
  EXPECT_EQ(index.same_letters(10), Ids{11});
  EXPECT_EQ(index.same_letters(11), Ids{10});
  EXPECT_EQ(index.same_letters(8), Ids{16});  // three letters without a space: in many words
  EXPECT_EQ(index.same_letters(6), Ids{});
  EXPECT_EQ(index.same_letters(12), Ids{});
  EXPECT_EQ(index.same_letters(14), Ids{});
  EXPECT_FALSE(index.is_word(14));
}

// Other words that a careless rule takes for forms of one.
TEST(Variants, EndingsThatMakeAnotherWord) {
  const std::vector<std::string> vocab = {
      " angel",  " Angeles", " bat",   " Bates", " fires", " fire",   " Fir",   " house", " hous",
      " houses", " box",     " boxes", " hero",  " heros", " heroes", " Paris", " pari",  " glass",
      " glas",   "ATION",    " ation", " menu",  " menus", "unia",    "Unia"};
  const WordIndex index(static_cast<std::int64_t>(vocab.size()),
                        [&](auto id) { return vocab[id]; });
  EXPECT_EQ(index.same_letters(0), Ids{});
  EXPECT_EQ(index.same_letters(2), Ids{});
  EXPECT_EQ(index.same_letters(4), Ids{5});
  EXPECT_EQ(index.same_letters(9), Ids{7});
  EXPECT_EQ(index.same_letters(8), Ids{9});
  EXPECT_EQ(index.same_letters(11), Ids{10});
  EXPECT_EQ(index.same_letters(12), (Ids{13, 14}));
  EXPECT_EQ(index.same_letters(14), Ids{12});
  EXPECT_EQ(index.same_letters(15), Ids{});
  EXPECT_EQ(index.same_letters(17), Ids{});
  EXPECT_EQ(index.same_letters(19), Ids{});  // capitals throughout: perhaps the end of NATION
  EXPECT_EQ(index.same_letters(21), Ids{22});
  EXPECT_EQ(index.same_letters(24), Ids{23});
}

TEST(Variants, PluralsOfY) {
  const std::vector<std::string> vocab = {" country",  " countries", "Countries",
                                          " countrys", " ties",      " ty"};
  const WordIndex index(static_cast<std::int64_t>(vocab.size()),
                        [&](auto id) { return vocab[id]; });
  EXPECT_EQ(index.same_letters(0), (Ids{1, 2, 3}));
  EXPECT_EQ(index.same_letters(1), (Ids{0, 2}));
  EXPECT_EQ(index.same_letters(4), Ids{});  // of one letter and a plural's end
}

TEST(Variants, LettersAreCharactersNotBytes) {
  const std::vector<std::string> vocab = {" Москва", "москва", " МОСКВА", " ол",
                                          "ол",      "олов",   " Олов"};
  const WordIndex index(static_cast<std::int64_t>(vocab.size()),
                        [&](auto id) { return vocab[id]; });
  EXPECT_EQ(index.same_letters(0), (Ids{1, 2}));
  EXPECT_EQ(index.same_letters(3), Ids{});  // two letters, in many words
  EXPECT_EQ(index.same_letters(6), Ids{5});
}

const Candidate candidate{2, 17, {" golf", "\xFF", " club"}};

TEST(Judge, RequestsAreOfTheBatchFormat) {
  const Questioner questioner("judge");
  const auto question = questioner.describe(candidate, "0123456789abcdef");
  EXPECT_TRUE(question.id.starts_with("describe-0123456789ab-17-"));
  EXPECT_LE(question.id.size(), 64U);
  const auto line = json::parse(batch_request(question.id, "some-model", question.prompt, 64));
  EXPECT_EQ(line["custom_id"], question.id);
  EXPECT_EQ(line["method"], "POST");
  EXPECT_EQ(line["url"], "/v1/chat/completions");
  EXPECT_EQ(line["body"]["model"], "some-model");
  EXPECT_EQ(line["body"]["max_tokens"], 64);
  EXPECT_EQ(line["body"]["messages"][0]["role"], "user");
  const auto prompt = line["body"]["messages"][0]["content"].get<std::string>();
  EXPECT_NE(prompt.find("Tokens: [\" golf\",\"\uFFFD\",\" club\"]\nAnswer:"), std::string::npos);
  const auto membership = questioner.membership(candidate, "0123456789abcdef", "Golf", "Sport.");
  EXPECT_NE(membership.prompt.find("Concept: Golf\nDescription: Sport.\nAnswer:"),
            std::string::npos);
  const auto by_tokens = questioner.membership(candidate, "0123456789abcdef", "Golf", std::nullopt);
  EXPECT_NE(
      by_tokens.prompt.find("Concept: Golf\nTokens: [\" golf\",\"\uFFFD\",\" club\"]\nAnswer:"),
      std::string::npos);
  EXPECT_NE(by_tokens.id, membership.id);
  // Another judge, and another question, are other ids.
  EXPECT_NE(Questioner("other").describe(candidate, "0123456789abcdef").id, question.id);
  EXPECT_NE(questioner.membership(candidate, "0123456789abcdef", "Golf", "Tea.").id, membership.id);
}

TEST(Judge, AnswersThatAreNoneAreCounted) {
  const std::string body = R"({"choices": [{"message": {"content": "half an answer"}}]})";
  const std::string text =
      batch_answer("a", "m", "first") + "\n" + batch_answer("a", "m", "second") + "\n\nnot JSON\n" +
      R"({"custom_id": "b", "response": {"status_code": 500, "body": )" + body + "}}\n" +
      R"({"custom_id": "c", "response": {"body": )" + body +
      R"(}, "error": {"code": "busy"}})"
      "\n" +
      R"({"custom_id": "d", "response": {"body": {"choices": [{"message": {"content": null}}]}}})" +
      "\n" +
      R"({"custom_id": "e", "response": {"body": {"choices": [{"message": {"content": "x"}}]}}})" +
      "\n" + R"({"response": {"body": {"choices": [{"message": {"content": "y"}}]}}})";
  const auto answers = parse_batch_answers(text);
  EXPECT_EQ(answers.contents, (std::map<std::string, std::string>{{"a", "first"}, {"e", "x"}}));
  EXPECT_EQ(answers.malformed, 5);
}

TEST(Judge, Descriptions) {
  EXPECT_EQ(description_of("  Golf.\n"), "Golf.");
  EXPECT_EQ(description_of("```json\n{\"explanation\": \"Golf.\"}\n```"), "Golf.");
  EXPECT_EQ(description_of("{\"description\": \"Golf.\"}"), "Golf.");
  EXPECT_EQ(description_of("{\"description\": \" \"}"), std::nullopt);
  EXPECT_EQ(description_of(R"({"explanation": "Sets {a, b} and \"}\"."})"),
            "Sets {a, b} and \"}\".");
  EXPECT_EQ(description_of(R"({"description": "Golf.", "tokens": {"club": 1}})"), "Golf.");
  EXPECT_EQ(description_of(" \n"), std::nullopt);
}

TEST(Judge, Memberships) {
  const auto yes = membership_of("Sure: {\"is_member\": true, \"confidence\": 1.5} as asked {}");
  ASSERT_TRUE(yes);
  EXPECT_TRUE(yes->is_member);
  EXPECT_EQ(yes->confidence, 1);
  const auto no = membership_of("{not it} {\"is_member\": false, \"confidence\": 0.25}");
  ASSERT_TRUE(no);
  EXPECT_FALSE(no->is_member);
  EXPECT_EQ(no->confidence, 0.25);
  for (const char* good :
       {R"({"is_member": true, "confidence": 0.5, "why": "the set {a}, or \"}\" alone"})",
        R"({"why": {"topic": {"of": "golf"}}, "is_member": true, "confidence": 0.5})",
        R"({"answer": {"is_member": true, "confidence": 0.5}})",
        R"(Braces {like "this} and then {"is_member": true, "confidence": 0.5})"}) {
    const auto said = membership_of(good);
    ASSERT_TRUE(said) << good;
    EXPECT_TRUE(said->is_member) << good;
    EXPECT_EQ(said->confidence, 0.5) << good;
  }
  for (const char* none :
       {"yes", "{\"is_member\": true}", "{\"is_member\": \"yes\", \"confidence\": 1}",
        "{\"confidence\": 0.3}", "{\"is_member\": true, \"confidence\": \"high\"}", "{"})
    EXPECT_FALSE(membership_of(none)) << none;
}

}  // namespace
}  // namespace quench::selection
