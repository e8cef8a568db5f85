#include "stages/evaluation/judge.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "stages/batch_format.hpp"
#include "tests/support/scratch_directory.hpp"

namespace quench::evaluation {
namespace {

using nlohmann::json;

TEST(JudgeVerdict, Correct) {
  const auto of = [](const std::string& text) {
    return judge_verdict(JudgeQuestion::correct, text);
  };
  EXPECT_EQ(of("It names the same town.\nCorrect: 1"), 1);
  EXPECT_EQ(of("Correct: 1 it seems, but\n**Correct: 0**\n"), 0);
  EXPECT_EQ(of("Correct: 1\nthat is all"), 1);  // anywhere, where the last line has none
  EXPECT_FALSE(of("Correct: 2"));
  EXPECT_FALSE(of("Correct: 10"));
  EXPECT_FALSE(of("Correct: 0.5"));
  EXPECT_EQ(of("Correct: 1."), 1);
  EXPECT_FALSE(of("yes"));
  EXPECT_FALSE(of(""));
}

TEST(JudgeVerdict, Ratings) {
  for (const auto question : {JudgeQuestion::related, JudgeQuestion::fluent}) {
    const auto of = [&](const std::string& text) { return judge_verdict(question, text); };
    EXPECT_EQ(of("Good.\nRating: [[2]]"), 2);
    EXPECT_EQ(of("Rating: 0"), 0);
    EXPECT_EQ(of("I give it 1 of 2"), 1);  // the first integer
    EXPECT_FALSE(of("Rating: [[7]]"));
    EXPECT_FALSE(of("10"));
    EXPECT_FALSE(of("Rating: [[1.5]]"));  // no cutting to 1
    EXPECT_FALSE(of("Rating: 1,5"));
    EXPECT_FALSE(of("1.5 of 2"));
    EXPECT_EQ(of("Rating: [[1]], all in all"), 1);
    EXPECT_EQ(of("Rating: 1."), 1);
    EXPECT_FALSE(of("none"));
  }
}

TEST(JudgeFiles, AreInTheBatchFormat) {
  const auto line = json::parse(batch_request("evaluation-1", "my-judge", "Is \"x\"\nright?", 350));
  EXPECT_EQ(line["custom_id"], "evaluation-1");
  EXPECT_EQ(line["method"], "POST");
  EXPECT_EQ(line["body"]["model"], "my-judge");
  EXPECT_EQ(line["body"]["max_tokens"], 350);
  EXPECT_EQ(line["url"], "/v1/chat/completions");
  EXPECT_EQ(line["body"]["messages"][0]["content"], "Is \"x\"\nright?");
  EXPECT_NE(batch_request("a", "judge", "bad \xFF byte", 1).find("bad"), std::string::npos);
}

TEST(JudgeFiles, PromptsHoldTheBareQuestion) {
  EXPECT_TRUE(judge_prompt(JudgeQuestion::correct, "Who?", "Ada", "Ann")
                  .starts_with("Question: Who?\n\nReference answer: Ada\nAttempt: Ann\n"));
  EXPECT_TRUE(judge_prompt(JudgeQuestion::related, "Sing.", "", "La")
                  .starts_with("Instruction:\nSing.\n\nResponse:\nLa\n"));
}

TEST(JudgeFiles, MalformedAnswersAreMissing) {
  const quench::testing::ScratchDirectory scratch;
  const auto file = scratch / "answers.jsonl";
  const auto answer = [](const std::string& id, const json& content) {
    return json{{"custom_id", id},
                {"response", {{"body", {{"choices", {{{"message", {{"content", content}}}}}}}}}}}
        .dump();
  };
  std::ofstream(file) << answer("a", "Correct: 1") << "\n{\n\n[]\n"
                      << answer("b", 7) << "\n"
                      << json{{"custom_id", "c"}, {"error", "quota"}}.dump() << "\n"
                      << answer("d", "Correct: 0");
  const auto answers = parse_batch_answers(read_batch_answers(file, {"x", "d"}, "some"));
  EXPECT_EQ(answers.contents,
            (std::map<std::string, std::string>{{"a", "Correct: 1"}, {"d", "Correct: 0"}}));
  EXPECT_EQ(answers.malformed, 4);
}

TEST(JudgeFiles, AFileThatAnswersNothingIsNone) {
  const quench::testing::ScratchDirectory scratch;
  const std::vector<std::string> ids{"a", "b"};
  EXPECT_EQ(read_batch_answers(scratch / "none", ids, "some"), "");
  EXPECT_EQ(read_batch_answers(scratch.path(), ids, "some"), "");  // a directory
  std::ofstream(scratch / "empty") << "";
  EXPECT_EQ(read_batch_answers(scratch / "empty", ids, "some"), "");
  const auto foreign = batch_answer("c", "judge", "Correct: 1") + "\n";
  std::ofstream(scratch / "foreign") << foreign;
  EXPECT_EQ(read_batch_answers(scratch / "foreign", ids, "some"), "");
  EXPECT_EQ(read_batch_answers(scratch / "foreign", {}, "some"), "");
  const auto good = foreign + batch_answer("b", "judge", "Correct: 1");
  std::ofstream(scratch / "good") << good;
  EXPECT_EQ(read_batch_answers(scratch / "good", ids, "some"), good);
}

}  // namespace
}  // namespace quench::evaluation
