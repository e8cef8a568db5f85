#include "stages/corpus/catalog.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "cluster/error.hpp"
#include "cluster/hash.hpp"
#include "stages/corpus/corpus.hpp"
#include "stages/corpus/records.hpp"
#include "tests/support/scratch_directory.hpp"

namespace quench::corpus {
namespace {

using nlohmann::json;

json make_question(const std::string& text) {
  return {{"question", text}, {"answer", "b"}, {"options", {"a", "b", "c", "d"}}};
}

json make_group(const std::string& prefix) {
  return {{"train", {make_question(prefix + " one?"), make_question(prefix + " two?")}},
          {"test", {make_question(prefix + " three?")}}};
}

json make_concept(const std::string& name) {
  return {{"name", name},
          {"aliases", json::array({"other " + name})},
          {"sentences", {"A sentence.", "Another one."}},
          {"questions", {{"concept", make_group("Own")}, {"similar", make_group("Similar")}}},
          {"paragraphs", json::array({"A paragraph."})}};
}

json make_general(const std::string& text, const std::string& split) {
  auto question = make_question(text);
  question["split"] = split;
  return question;
}

// A catalog in a directory of its own, good until it is changed.
class Catalog : public ::testing::Test {
 protected:
  Catalog() {
    write("concepts.jsonl", {make_concept("Golf").dump(), make_concept("Uranium").dump()});
    write("neutral.jsonl", {R"({"text": "It rains."})"});
    write("general.jsonl",
          {make_general("Why?", "train").dump(), make_general("How?", "test").dump()});
    write("instructions.jsonl", {R"({"instruction": "Say hello.", "split": "test"})"});
  }

  void write(const std::string& name, const std::vector<std::string>& lines) const {
    std::ofstream file(dir_ / name, std::ios::binary);
    for (const auto& line : lines) file << line << "\n";
  }
  void write_concepts(const std::vector<json>& records) const {
    std::vector<std::string> lines;
    for (const auto& record : records) lines.push_back(record.dump());
    write("concepts.jsonl", lines);
  }
  // "file:line: field: what" of everything found.
  std::vector<std::string> problems() const {
    std::vector<std::string> texts;
    for (const auto& problem : check_catalog(dir_)) texts.push_back(to_text(problem));
    return texts;
  }
  // The problems of a catalog whose second concept is this one.
  std::vector<std::string> problems_of(const json& record) const {
    write_concepts({make_concept("Golf"), record});
    return problems();
  }

  const quench::testing::ScratchDirectory scratch_;
  const std::filesystem::path dir_ = scratch_.path();
};

using Texts = std::vector<std::string>;

TEST_F(Catalog, AGoodOneHasNoProblems) { EXPECT_EQ(problems(), Texts{}); }

TEST_F(Catalog, BlankLinesByteOrderMarksAndCarriageReturnsAreFine) {
  write("concepts.jsonl", {"", "\xEF\xBB\xBF" + make_concept("Golf").dump(), " \t\r",
                           make_concept("B").dump() + "\r"});
  EXPECT_EQ(problems(), Texts{});
  const auto index = index_catalog(dir_);
  ASSERT_EQ(index.size(), 2u);
  EXPECT_EQ(read_concept(dir_, index[1]).name, "B");
}

TEST_F(Catalog, MissingAndEmptyFiles) {
  std::filesystem::remove(dir_ / "neutral.jsonl");
  write("concepts.jsonl", {});
  write("general.jsonl", {""});
  write("instructions.jsonl", {});
  EXPECT_EQ(problems(), (Texts{
                            "concepts.jsonl: no concepts",
                            "neutral.jsonl: cannot be read: no such file, or no right to read it",
                            "general.jsonl: no records",
                        }));
}

TEST_F(Catalog, SyntaxErrorsAndInvalidTextDoNotStopTheCheck) {
  write("concepts.jsonl", {make_concept("A").dump(), "{\"name\": \"B\",}", "{\"name\": \"\xC3(\"}",
                           "[1]", make_concept("A").dump()});
  const auto found = problems();
  ASSERT_EQ(found.size(), 4u);
  EXPECT_EQ(found[0].find("concepts.jsonl:2: JSON error at byte 14 of the line: syntax error"), 0u)
      << found[0];
  const auto offset = make_concept("A").dump().size() + 1 + 15 + 10;
  EXPECT_EQ(found[1], "concepts.jsonl:3: invalid UTF-8 at byte 11 of the line (offset " +
                          std::to_string(offset) + " in the file)");
  EXPECT_EQ(found[2], "concepts.jsonl:4: must be an object, is array");
  EXPECT_EQ(found[3], "concepts.jsonl:5: name: the same name as on line 1");
}

TEST_F(Catalog, NumbersTooLargeDoNotStopTheCheck) {
  write("neutral.jsonl", {R"({"text": 1e999})", R"({"text": ""})"});
  const auto found = problems();
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].find("neutral.jsonl:1: JSON error in the line: "), 0u) << found[0];
  EXPECT_NE(found[0].find("1e999"), std::string::npos) << found[0];
  EXPECT_EQ(found[1], "neutral.jsonl:2: text: is empty");
}

TEST_F(Catalog, ValuesNestedDeeplyAreRefused) {
  const auto nested = [](std::size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  write("general.jsonl", {R"({"question": )" + nested(100'000) + "}", nested(32)});
  const auto found = problems();
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0], "general.jsonl:1: nested too deeply");
  EXPECT_EQ(found[1], "general.jsonl:2: must be an object, is array");
}

TEST_F(Catalog, APipeIsNotWaitedFor) {
  std::filesystem::remove(dir_ / "neutral.jsonl");
  ASSERT_EQ(::mkfifo((dir_ / "neutral.jsonl").c_str(), 0600), 0);
  EXPECT_EQ(problems(),
            Texts{"neutral.jsonl: cannot be read: no such file, or no right to read it"});
}

TEST_F(Catalog, MissingUnknownAndDoubledFields) {
  auto record = make_concept("B");
  record["sentences"].clear();
  record["sentence"] = "x";
  record.erase("paragraphs");
  record["questions"]["concept"].erase("train");
  record["questions"]["concept"]["test"][0].erase("options");
  record["questions"]["concept"]["test"][0]["acepted"] = {"b"};
  EXPECT_EQ(problems_of(record),
            (Texts{
                "concepts.jsonl:2: paragraphs: is missing",
                "concepts.jsonl:2: sentence: unknown field; the nearest known one is 'sentences'",
                "concepts.jsonl:2: sentences: no sentences",
                "concepts.jsonl:2: questions.concept.train: is missing",
                "concepts.jsonl:2: questions.concept.test[0].options: is missing",
                "concepts.jsonl:2: questions.concept.test[0].acepted: unknown field; the nearest "
                "known one is 'accepted'",
            }));
  write_concepts({make_concept("Golf")});
  write("neutral.jsonl", {R"({"text": "a", "text": "b"})", R"({"txt": "a"})"});
  EXPECT_EQ(problems(), (Texts{
                            "neutral.jsonl:1: text: the field occurs twice in one object",
                            "neutral.jsonl:2: text: is missing",
                            "neutral.jsonl:2: txt: unknown field; the nearest known one is 'text'",
                        }));
}

TEST_F(Catalog, WrongTypesAndEmptyText) {
  auto record = make_concept("B");
  record["name"] = 5;
  record["aliases"] = "alias";
  record["sentences"] = {"fine", 7, " \xC2\xA0\t"};
  record["questions"]["concept"]["test"] = 1;
  record["questions"]["similar"] = nullptr;
  record["questions"]["concept"]["train"][1]["answer"] = "";
  record["questions"]["concept"]["train"][0] = "Who?";
  record["paragraphs"][0] = "";
  EXPECT_EQ(problems_of(record),
            (Texts{
                "concepts.jsonl:2: name: must be a string, is number",
                "concepts.jsonl:2: aliases: must be a list of strings, is string",
                "concepts.jsonl:2: sentences[1]: must be a string, is number",
                "concepts.jsonl:2: sentences[2]: is empty",
                "concepts.jsonl:2: paragraphs[0]: is empty",
                "concepts.jsonl:2: questions.concept.train[0]: must be an object, is string",
                "concepts.jsonl:2: questions.concept.train[1].answer: is empty",
                "concepts.jsonl:2: questions.concept.test: must be a list of questions, is number",
                "concepts.jsonl:2: questions.similar: must be an object, is null",
            }));
}

TEST_F(Catalog, AnswersAndOptions) {
  auto record = make_concept("B");
  auto& train = record["questions"]["concept"]["train"];
  auto& test = record["questions"]["similar"]["test"];
  train[0]["answer"] = "e";
  train[1]["options"] = {"a", "b", "c"};
  test[0]["options"] = {"a", "b", "a ", "d"};
  test[0]["accepted"] = {"b", "d"};
  test.push_back(make_question("Fine?"));
  test[1]["accepted"] = json::array();
  EXPECT_EQ(problems_of(record),
            (Texts{
                "concepts.jsonl:2: questions.concept.train[0].answer: is not one of the options",
                "concepts.jsonl:2: questions.concept.train[1].options: must be 4 options, are 3",
                "concepts.jsonl:2: questions.similar.test[0].options[2]: the same option as an "
                "earlier one",
                "concepts.jsonl:2: questions.similar.test[0].accepted[1]: accepts an option that "
                "is not the answer",
                "concepts.jsonl:2: questions.similar.test[1].accepted: is empty; leave it out to "
                "accept the answer alone",
            }));
}

TEST_F(Catalog, TheSameQuestionTwice) {
  auto record = make_concept("B");
  auto& questions = record["questions"];
  questions["concept"]["train"][1] = make_question("Own one?");
  questions["concept"]["test"][0] = make_question(" Own one? ");
  questions["similar"]["test"][0] = make_question("Similar two?");
  EXPECT_EQ(problems_of(record), (Texts{
                                     "concepts.jsonl:2: questions.concept.train[1].question: the "
                                     "same question as questions.concept.train[0]",
                                     "concepts.jsonl:2: questions.concept.test[0].question: the "
                                     "same question as questions.concept.train[0]",
                                     "concepts.jsonl:2: questions.similar.test[0].question: the "
                                     "same question as questions.similar.train[1]",
                                 }));
  write_concepts({make_concept("A"), make_concept("B")});  // shared between concepts: allowed
  write("general.jsonl", {make_general("Why?", "train").dump(), "",
                          make_general("Why?", "test").dump(), make_general("X?", "later").dump()});
  EXPECT_EQ(
      problems(),
      (Texts{
          "general.jsonl:3: question: the same question as on line 1",
          "general.jsonl:4: split: must be \"train\" (or \"validation\"), \"test\" or \"dev\"",
      }));
}

TEST_F(Catalog, GeneralQuestionsAreMmlus) {
  write_concepts({make_concept("A")});
  auto other = make_general("Why?", "test"), alike = make_general("Where?", "test");
  other["options"][2] = "another one";
  alike["options"][3] = alike["options"][2];
  const std::string mmlu =
      R"({"question": "Which?", "choices": ["1", "1", "2", "3"], "answer": 1, )"
      R"("split": "test"})";
  write("general.jsonl", {make_general("Why?", "train").dump(), other.dump(), alike.dump(), mmlu});
  EXPECT_EQ(problems(), Texts{});
  const auto general = read_shared(dir_).general;
  EXPECT_EQ(general.back().answer, "1");
  EXPECT_EQ(general.back().correct(), 1);  // by its place: another option is equal
  EXPECT_EQ(general[2].correct(),
            std::ranges::find(general[2].options, general[2].answer) - general[2].options.begin());
}

TEST_F(Catalog, EveryGroupOfAConceptHasBothSplits) {
  auto record = make_concept("B");
  record["questions"]["concept"] = {{"train", json::array()}, {"test", json::array()}};
  record["questions"]["similar"]["train"].clear();
  EXPECT_EQ(problems_of(record),
            (Texts{std::string("concepts.jsonl:2: questions.concept.train: no questions; ") +
                       remedy_of_empty_split,
                   std::string("concepts.jsonl:2: questions.concept.test: no questions; ") +
                       remedy_of_empty_split,
                   std::string("concepts.jsonl:2: questions.similar.train: no questions; ") +
                       remedy_of_empty_split}));
}

TEST_F(Catalog, GeneralQuestionsAreOfBothSplits) {
  write("general.jsonl",
        {make_general("Why?", "test").dump(), make_general("How?", "test").dump()});
  const Texts no_train{
      std::string(R"(general.jsonl: split: all questions are "test", none is "train"; )") +
      remedy_of_empty_split};
  EXPECT_EQ(problems(), no_train);
  EXPECT_THROW(read_shared(dir_), DataError);
  write("general.jsonl", {make_general("Why?", "train").dump()});
  EXPECT_EQ(
      problems(),
      Texts{std::string(R"(general.jsonl: split: all questions are "train", none is "test"; )") +
            remedy_of_empty_split});
  write("general.jsonl", {make_general("Why?", "dev").dump()});
  ASSERT_EQ(problems().size(), 1U);
  EXPECT_NE(problems()[0].find("split: all questions are \"dev\""), std::string::npos);
}

TEST_F(Catalog, DuplicateNamesCountAfterTrimmingAliasesDoNot) {
  auto lower = make_concept("golf");
  auto alias = make_concept("Tee");
  alias["aliases"] = {"Golf"};
  write_concepts({make_concept("Golf"), lower, alias, make_concept("\u2003 Golf ")});
  EXPECT_EQ(problems(), (Texts{"concepts.jsonl:4: name: the same name as on line 1"}));
}

TEST_F(Catalog, InstructionsAreChecked) {
  write("instructions.jsonl", {R"({"instruction": " ", "split": "test"})",
                               R"({"instruction": "Say.", "split": 1})", "\"x\""});
  EXPECT_EQ(problems(), (Texts{
                            "instructions.jsonl:1: instruction: is empty",
                            "instructions.jsonl:2: split: must be \"train\" or \"test\"",
                            "instructions.jsonl:3: must be an object, is string",
                        }));
}

TEST_F(Catalog, IndexAndReadAnyName) {
  const Texts names{"a/b\\c", "..", "\"quoted\", 'single'", "\xF0\x9F\x8E\x83 Halloween",
                    "Curaçao; DROP"};
  std::vector<json> records;
  for (const auto& name : names) records.push_back(make_concept(name));
  records[1]["questions"]["concept"]["train"][0]["accepted"] = {"b", "bee"};
  write_concepts(records);
  const auto index = index_catalog(dir_);
  ASSERT_EQ(index.size(), names.size());
  for (std::size_t i = 0; i < names.size(); ++i) {
    EXPECT_EQ(index[i].name, names[i]);
    EXPECT_EQ(index[i].hash, cluster::sha256(records[i].dump()));
    EXPECT_EQ(index[i].sentences, 2);
    std::int64_t bytes = 0;
    for (const Texts::value_type text : records[i]["sentences"]) bytes += std::ssize(text);
    EXPECT_EQ(index[i].sentence_bytes, bytes);
    EXPECT_EQ(index[i].questions, 6);
    EXPECT_EQ(index[i].paragraphs, 1);
    const auto record = read_concept(dir_, index[i]);
    EXPECT_EQ(record.name, names[i]);
    EXPECT_EQ(record.hash, index[i].hash);
    EXPECT_EQ(record.aliases, Texts{"other " + names[i]});
    ASSERT_EQ(record.own.size(), 3u);
    EXPECT_EQ(record.own[2].question, "Own three?");
    EXPECT_EQ(record.own[1].split, Split::train);
    EXPECT_EQ(record.own[2].split, Split::test);
    EXPECT_EQ(record.similar[0].question, "Similar one?");
    EXPECT_EQ(record.own[0].accepted, i == 1 ? (Texts{"b", "bee"}) : Texts{"b"});
  }
}

TEST_F(Catalog, TheHashIsOfTheContentAlone) {
  const auto hash = [&](const std::string& line) {
    write("concepts.jsonl", {line});
    return index_catalog(dir_).at(0).hash;
  };
  auto record = make_concept("Golf");
  const auto first = hash(record.dump());
  nlohmann::ordered_json reordered;
  for (const char* key : {"sentences", "questions", "paragraphs", "name", "aliases"})
    reordered[key] = record[key];
  EXPECT_EQ(hash(" " + reordered.dump(-1, ' ', true) + " "), first);
  record["paragraphs"][0] = "Another paragraph.";
  EXPECT_NE(hash(record.dump()), first);
}

TEST_F(Catalog, IndexListsFiftyProblemsAndTheirNumber) {
  std::vector<std::string> lines(60, "{");
  write("concepts.jsonl", lines);
  try {
    index_catalog(dir_);
    FAIL();
  } catch (const DataError& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find(dir_.string() + ": 60 problems"), std::string::npos) << text;
    EXPECT_NE(text.find("concepts.jsonl:50: "), std::string::npos);
    EXPECT_EQ(text.find("concepts.jsonl:51: "), std::string::npos);
    EXPECT_NE(text.find("and 10 more"), std::string::npos);
  }
}

TEST_F(Catalog, AChangedFileIsNoticed) {
  const auto index = index_catalog(dir_);
  write_concepts({make_concept("Gulf"), make_concept("Uranium")});
  EXPECT_THROW(read_concept(dir_, index[0]), DataError);
  EXPECT_EQ(read_concept(dir_, index[1]).name, "Uranium");
  std::filesystem::remove(dir_ / "concepts.jsonl");
  EXPECT_THROW(read_concept(dir_, index[1]), DataError);
}

TEST_F(Catalog, SharedText) {
  const auto shared = read_shared(dir_);
  EXPECT_EQ(shared.neutral, Texts{"It rains."});
  ASSERT_EQ(shared.general.size(), 2u);
  EXPECT_EQ(shared.general[0].split, Split::train);
  EXPECT_EQ(shared.general[1].split, Split::test);
  EXPECT_EQ(shared.general[1].answer, "b");
  ASSERT_EQ(shared.instructions.size(), 1u);
  EXPECT_EQ(shared.instructions[0].text, "Say hello.");
  EXPECT_EQ(shared.instructions[0].split, Split::test);
  write("neutral.jsonl", {R"({"text": "It snows."})"});
  EXPECT_NE(read_shared(dir_).hash, shared.hash);
  write("neutral.jsonl", {R"({"text": 1})"});
  EXPECT_THROW(read_shared(dir_), DataError);
}

TEST_F(Catalog, GeneralQuestionsInMmluLayout) {
  const auto row = [](const std::string& text, const json& answer, const std::string& split) {
    json record{{"question", text}, {"subject", "anatomy"}, {"answer", answer}, {"split", split}};
    record["choices"] = {"one", "two", "three", "four"};
    return record.dump();
  };
  write("general.jsonl", {row("A?", 0, "validation"), row("B?", 3, "test"), row("C?", 2, "dev"),
                          make_general("Why?", "test").dump()});
  const auto shared = read_shared(dir_);
  ASSERT_EQ(shared.general.size(), 3u);
  EXPECT_EQ(shared.general[0].split, Split::train);
  EXPECT_EQ(shared.general[1].answer, "four");
  EXPECT_EQ(shared.general[1].options, (Texts{"one", "two", "three", "four"}));
  EXPECT_EQ(shared.general[1].subject, "anatomy");
  ASSERT_EQ(shared.examples.size(), 1u);
  EXPECT_EQ(shared.examples[0].answer, "three");
  write("general.jsonl", {row("A?", 4, "train"), row("B?", "D", "test"), row("C?", 0, "test")});
  std::vector<std::string> told;
  for (const auto& problem : check_catalog(dir_)) told.push_back(to_text(problem));
  EXPECT_EQ(told,
            (Texts{"general.jsonl:1: answer: must be the place of the right choice, from 0 on",
                   "general.jsonl:2: answer: must be the place of the right choice, from 0 on"}));
}

TEST_F(Catalog, EverythingWrongWithAGeneralQuestionIsToldOnce) {
  auto plain = make_general("Why?", "train");
  plain["subject"] = 7;
  const json mmlu{{"question", ""},
                  {"choices", {"a", "b", "", "d"}},
                  {"answer", -1},
                  {"subject", json::array()}};
  write("general.jsonl", {plain.dump(), mmlu.dump()});
  EXPECT_EQ(problems(),
            (Texts{"general.jsonl:1: subject: must be a string, is number",
                   "general.jsonl:2: split: is missing", "general.jsonl:2: choices[2]: is empty",
                   "general.jsonl:2: answer: must be the place of the right choice, from 0 on",
                   "general.jsonl:2: question: is empty",
                   "general.jsonl:2: subject: must be a string, is array"}));
}

TEST_F(Catalog, ChoosesConceptsInTheCatalogsOrder) {
  write_concepts({make_concept("A"), make_concept("Golf"), make_concept("Wolf")});
  const auto index = index_catalog(dir_);
  const auto chosen = [&](const Options& options) {
    Texts names;
    for (const auto& entry : choose_concepts(index, options)) names.push_back(entry.name);
    return names;
  };
  EXPECT_EQ(chosen({}), (Texts{"A", "Golf", "Wolf"}));
  Options options;
  options.max_concepts = 2;
  EXPECT_EQ(chosen(options), (Texts{"A", "Golf"}));
  options.concepts = {"other Wolf", "Golf"};  // one by its alias
  options.max_concepts = 0;
  EXPECT_EQ(chosen(options), (Texts{"Golf", "Wolf"}));
  options.max_concepts = 1;
  EXPECT_EQ(chosen(options), Texts{"Golf"});
  options.concepts = {"Wollf", "Golf", "Xolf"};
  try {
    chosen(options);
    FAIL();
  } catch (const ConfigError& error) {
    const std::string text = error.what();
    for (const char* part :
         {"'Wollf' is not among the catalog's 3 concepts; the nearest name is 'Wolf'",
          "'Xolf' is not among the catalog's 3 concepts; the nearest name is 'Golf'"})
      EXPECT_NE(text.find(part), text.npos) << text;
  }
}

}  // namespace
}  // namespace quench::corpus
