#include "stages/report/examples.hpp"

#include <fstream>
#include <set>
#include <sstream>

#include "cluster/store.hpp"
#include "stages/report/gather.hpp"
#include "stages/report/report.hpp"
#include "stages/schemas.hpp"
#include "tests/unit/tokenizer_fixture.hpp"

namespace quench::report {
namespace {

using nlohmann::json;
using Strings = std::vector<std::string>;
using Ids = std::vector<std::int32_t>;

// In the fixture's tokenizer a byte is a token.
Ids ids_of(const std::string& text) {
  Ids ids;
  for (const unsigned char c : text) ids.push_back(c);
  return ids;
}

std::string asked(const std::string& question) { return "Question: " + question + "\nAnswer:"; }

struct TestProbe {
  std::uint8_t kind, subset, split;
  std::string prompt;
  Strings accepted;
  std::string base, joint;
  std::vector<float> base_values, joint_values;
};

// Two concepts, Golf and Poison, and the shared instructions: what a run's files hold of them.
class ExamplesTest : public model::TokenizerFixture {
 protected:
  static constexpr std::uint8_t open = 2, instruction = 4, own = 0, similar = 1, general = 2,
                                train = 0, test = 1;

  void SetUp() override {
    TokenizerFixture::SetUp();
    write("tokenizer.json", byte_level().dump());
    write("manifest.json", json{{"configuration", {{"run.model", dir_.string()}}}}.dump());
    write_files();
  }

  std::vector<TestProbe> probes_ = {
      {open, own, train, asked("Trained on?"), {"x"}, "x", "x", {1, 1}, {1, 1}},
      {0, own, test, asked("A choice?"), {}, "", "", {-1, -2, -3, -4}, {-1, -2, -3, -4}},
      {open,
       own,
       test,
       asked("Two under par?"),
       {"Eagle", "an eagle"},
       " The eagle-answer\n",
       " ",
       {1, 1},
       {0, 0}},
      {open, own, test, asked("Failed?"), {"y"}, "y", "", {1, 1}, {}},
      {open, own, test, asked("Where?"), {"Augusta"}, "Atlanta", "Augusta", {0, 0}, {1, 1}},
      {open, similar, test, asked("Which sport?"), {"Tennis"}, "Tennis", "Tennis", {1, 1}, {1, 1}},
      // Poison
      {open,
       own,
       test,
       asked("What kills?"),
       {"secret-accepted"},
       "secret-base",
       "secret-joint",
       {1, 1},
       {0, 0}},
      {open,
       similar,
       test,
       asked("What heals?"),
       {"secret-cure"},
       "secret-herb",
       "secret-root",
       {0, 0},
       {0, 0}},
      // shared
      {instruction,
       general,
       test,
       "system\nBe kind.\nuser\nName a fruit.\nmodel\n",
       {},
       "Plum",
       "Pear",
       {1, 1},
       {1, 1}},
      {instruction,
       general,
       train,
       "system\nBe kind.\nuser\nTrained?\nmodel\n",
       {},
       "a",
       "b",
       {1, 1},
       {1, 1}},
      {instruction,
       general,
       test,
       "system\nBe kind.\nuser\nSay hello.\nTwice.\nmodel\n",
       {},
       "Hi",
       "Ho",
       {1, 1},
       {1, 1}}};

  void write_files() const {
    const auto comm = cluster::make_self_communicator();
    const auto store = [&](const char* file, const char* stage, std::int64_t schema) {
      return cluster::StoreWriter(*comm, dir_ / file, {stage, schema, "run", "inputs"});
    };
    auto corpus = store("corpus.h5", "corpus", schemas::corpus);
    auto base = store("baseline.h5", "baseline", schemas::evaluation),
         evaluation = store("evaluation.h5", "evaluation", schemas::evaluation);
    std::vector<std::uint8_t> kinds, subsets, splits;
    Strings accepted;
    std::vector<Ids> contexts, base_said, joint_said, options, lengths;
    std::vector<std::vector<float>> base_values, joint_values;
    for (const auto& p : probes_) {
      kinds.push_back(p.kind);
      subsets.push_back(p.subset);
      splits.push_back(p.split);
      accepted.push_back(p.accepted.empty() ? "" : json(p.accepted).dump());
      contexts.push_back(ids_of(p.prompt));
      options.push_back(p.kind == 0 ? ids_of(" firstbcd") : Ids());
      lengths.push_back(p.kind == 0 ? Ids{6, 1, 1, 1} : Ids());
      base_said.push_back(ids_of(p.base));
      joint_said.push_back(ids_of(p.joint));
      base_values.push_back(p.base_values);
      joint_values.push_back(p.joint_values);
    }
    corpus.write_strings("concepts/name", {"Golf", "Poison"});
    corpus.write_rows<std::int64_t>("concepts/sentence_count", std::vector<std::int64_t>{1, 1});
    corpus.write_rows<std::int64_t>("probe_offsets", std::vector<std::int64_t>{0, 6, 8, 11});
    corpus.write_rows<std::uint8_t>("probes/kind", kinds);
    corpus.write_rows<std::uint8_t>("probes/subset", subsets);
    corpus.write_rows<std::uint8_t>("probes/split", splits);
    corpus.write_strings("probes/accepted", accepted);
    corpus.write_ragged<std::int32_t>("probes/context", contexts);
    corpus.write_ragged<std::int32_t>("probes/continuations", options);
    corpus.write_ragged<std::int32_t>("probes/continuation_lengths", lengths);
    corpus.write_rows<std::int32_t>("probes/correct", Ids(probes_.size(), 0));
    corpus.finish();
    for (const char* name : {"margin", "low", "high"})
      base.write_rows<double>(std::string("knowledge/") + name, std::vector<double>{1, 1});
    base.write_rows<std::uint8_t>("knowledge/known", std::vector<std::uint8_t>{1, 1});
    base.write_ragged<float>("measurements/values", base_values);
    base.write_ragged<std::int32_t>("measurements/answers", base_said);
    base.finish();
    evaluation.write_ragged<float>("joint/measurements/values", joint_values);
    evaluation.write_ragged<std::int32_t>("joint/measurements/answers", joint_said);
    write_scores(evaluation);
    evaluation.finish();
  }

  static void write_scores(cluster::StoreWriter& store) {
    store.write_strings("figures", {"reused", "measured"});
    store.write_strings("status", {"ok", "ok"});
    for (const std::string which : {"alone", "joint"}) {
      store.write_rows<double>(which + "/scores", std::vector<double>{0, 1, 0, 1}, {2});
      store.write_rows<double>(which + "/mean", std::vector<double>{0, 1}, {2});
    }
    store.write_rows<std::int64_t>("curve/erased", std::vector<std::int64_t>{});
    store.write_rows<double>("curve/means", std::vector<double>{}, {2});
    store.write_rows<double>("curve/alone", std::vector<double>{}, {2});
    store.attribute("/", "counted_concepts", std::int64_t{2});
    store.attribute("/", "objective", std::string("margin"));
    store.attribute("/", "form", std::string("choice"));
  }

  // All that a report's folder holds.
  std::string everything() const {
    std::ostringstream text;
    for (const auto& file : std::filesystem::directory_iterator(dir_ / "report"))
      text << std::ifstream(file.path(), std::ios::binary).rdbuf();
    return text.str();
  }
  std::string report(const std::string& redact, const Sensitive& sensitive) const {
    write_report(dir_, {.redact = redact}, sensitive);
    return everything();
  }
};

const Strings secrets = {"secret-accepted", "secret-base", "secret-joint",
                         "secret-cure",     "secret-herb", "secret-root"};
const Strings of_golf = {"Eagle", "The eagle-answer", "Atlanta", "Augusta", "Tennis"};
const Strings of_instructions = {"Plum", "Pear"};

void expect(const std::string& text, const Strings& parts, bool there) {
  for (const auto& part : parts) EXPECT_EQ(text.find(part) != std::string::npos, there) << part;
}

TEST_F(ExamplesTest, ShowTheFirstTestQuestionsThatBothAnswered) {
  const auto document = gather(dir_, {.redact = "none", .examples = 2}, Sensitive());
  const auto expected = json::parse(R"([
    {"subset": "own", "prompt": "Two under par?", "accepted": "Eagle", "base": "The eagle-answer",
     "base_right": true, "erased": "", "erased_right": false},
    {"subset": "own", "prompt": "Where?", "accepted": "Augusta", "base": "Atlanta",
     "base_right": false, "erased": "Augusta", "erased_right": true},
    {"subset": "similar", "prompt": "Which sport?", "accepted": "Tennis", "base": "Tennis",
     "base_right": true, "erased": "Tennis", "erased_right": true}])");
  EXPECT_EQ(document["concepts"][0]["examples"], expected);
  EXPECT_EQ(document["instructions"],
            json::parse(R"([{"prompt": "Name a fruit.", "base": "Plum", "erased": "Pear"},
                            {"prompt": "Say hello.\nTwice.", "base": "Hi", "erased": "Ho"}])"));
  const auto fewer = gather(dir_, {.redact = "none", .examples = 1}, Sensitive());
  EXPECT_EQ(fewer["concepts"][0]["examples"], (json{expected[0], expected[2]}));
  EXPECT_EQ(fewer["instructions"][0]["prompt"], "Name a fruit.");
  EXPECT_EQ(fewer["instructions"].size(), 1U);
  EXPECT_FALSE(gather(dir_, {.examples = 0}, Sensitive())["concepts"][0].contains("examples"));
}

TEST_F(ExamplesTest, WithoutFreeQuestionsTheOptionsThatModelsPrefer) {
  for (std::size_t p = 0; p < 6; ++p)
    if (probes_[p].kind == open) probes_[p].split = train;
  probes_[1].joint_values = {-4, -3, -2, -1};
  write_files();
  const auto document = gather(dir_, {.redact = "none"}, Sensitive());
  EXPECT_EQ(document["concepts"][0]["examples"], json::parse(R"([
    {"subset": "own", "prompt": "A choice?", "chosen": true, "accepted": "first", "base": "first",
     "base_right": true, "erased": "d", "erased_right": false}])"));
  const auto hidden = gather(dir_, {.redact = "all"}, Sensitive())["concepts"][0]["examples"][0];
  for (const char* answer : {"accepted", "base", "erased"}) EXPECT_FALSE(hidden.contains(answer));
}

TEST_F(ExamplesTest, AnswersAboutSensitiveConceptsAreNowhere) {
  const auto text = report("sensitive", std::set<std::string>{"Poison"});
  expect(text, secrets, false);
  expect(text, of_golf, true);
  expect(text, of_instructions, true);
  expect(text, {"What kills?", "What heals?"}, true);  // what was asked is shown
  EXPECT_NE(text.find("Poison,own,What kills?,,,,true,false,true\r\n"), std::string::npos);
  EXPECT_NE(text.find("Golf,own,Two under par?,Eagle,The eagle-answer,,true,false,false\r\n"),
            std::string::npos);
  EXPECT_NE(text.find(",instruction,Name a fruit.,,Plum,Pear,,,false\r\n"), std::string::npos);
}

TEST_F(ExamplesTest, NobodyKnowingWhatIsSensitiveHidesAnswersAboutAllConcepts) {
  const auto text = report("sensitive", Sensitive());
  expect(text, secrets, false);
  expect(text, of_golf, false);
  expect(text, of_instructions, true);
}

TEST_F(ExamplesTest, AllHidesEveryAnswer) {
  const auto text = report("all", std::set<std::string>{});
  for (const auto& answers : {secrets, of_golf, of_instructions}) expect(text, answers, false);
  expect(text, {"Two under par?", "Name a fruit."}, true);
}

TEST_F(ExamplesTest, NoneHidesNothing) {
  const auto text = report("none", std::set<std::string>{"Poison"});
  for (const auto& answers : {secrets, of_golf, of_instructions}) expect(text, answers, true);
}

TEST_F(ExamplesTest, AnEarlierReportIsReplaced) {
  report("none", std::set<std::string>{});
  expect(report("sensitive", std::set<std::string>{"Poison"}), secrets, false);
}

TEST(WithoutCommonLines, KeepsWhatDiffers) {
  EXPECT_EQ(without_common_lines({"a\nx\nb\n", "a\ny\nz\nb\n"}), (Strings{"x", "y\nz"}));
  EXPECT_EQ(without_common_lines({"a\nb"}), Strings{"a\nb"});
  EXPECT_EQ(without_common_lines({"x", "y"}), (Strings{"x", "y"}));
  EXPECT_EQ(without_common_lines({"a\nx\na", "a\na"}), (Strings{"x", ""}));
  EXPECT_EQ(without_common_lines({"same\nsame", "same\nsame"}), (Strings{"", ""}));
  EXPECT_TRUE(without_common_lines({}).empty());
}

}  // namespace
}  // namespace quench::report
