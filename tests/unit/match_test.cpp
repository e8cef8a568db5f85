#include "stages/tasks/match.hpp"

#include <gtest/gtest.h>

#include "stages/tasks/repetition.hpp"

namespace quench::tasks {
namespace {

bool matches(const std::string& answer, const std::vector<std::string>& accepted) {
  return answer_matches(answer, accepted);
}

TEST(AnswerMatches, CaseAndPunctuation) {
  EXPECT_TRUE(matches("It is TIGER  woods.", {"Tiger Woods"}));
  EXPECT_TRUE(matches("tiger-woods", {"Tiger Woods"}));
  EXPECT_TRUE(matches("St. Valentines day!", {"Valentine's Day"}));
  EXPECT_FALSE(matches("Tiger in the woods", {"Tiger Woods"}));
  EXPECT_FALSE(matches("Woods Tiger", {"Tiger Woods"}));
}

TEST(AnswerMatches, PunctuationBeyondAscii) {
  EXPECT_TRUE(matches("“Tiger Woods”", {"Tiger Woods"}));
  EXPECT_TRUE(matches("Valentine’s Day", {"Valentine's Day"}));
  EXPECT_TRUE(matches("«Zeus»…", {"zeus"}));
  EXPECT_TRUE(matches("1939–1945", {"1945"}));
  EXPECT_TRUE(matches("a\u00A0hole\u2003in\u00A0one", {"hole in one"}));
  EXPECT_FALSE(matches("Valentine’s", {"Valentine"}));
  EXPECT_FALSE(matches("10 µm", {"m"}));
}

TEST(AnswerMatches, Articles) {
  EXPECT_TRUE(matches("the Parthenon", {"A Parthenon"}));
  EXPECT_TRUE(matches("Lord of Rings", {"The Lord of the Rings"}));
  EXPECT_FALSE(matches("the", {"the"}));
  EXPECT_FALSE(matches("anything", {"", "..."}));
}

TEST(AnswerMatches, ALetterIsNoArticle) {
  EXPECT_TRUE(matches("Vitamin A is found in carrots", {"Vitamin A"}));
  EXPECT_TRUE(matches("it is the vitamin a.", {"Vitamin A"}));
  EXPECT_FALSE(matches("Vitamin C", {"Vitamin A"}));
  EXPECT_FALSE(matches("Vitamin", {"Vitamin A"}));
  EXPECT_FALSE(matches("Vitamin A", {"Vitamin C"}));
  EXPECT_FALSE(matches("A vitamin", {"Vitamin A"}));
  EXPECT_TRUE(matches("Hepatitis A virus", {"the hepatitis A virus"}));
  EXPECT_FALSE(matches("Hepatitis B virus", {"the hepatitis A virus"}));
  EXPECT_TRUE(matches("Blood group A", {"A"}));
  EXPECT_FALSE(matches("It is a B", {"A"}));
  EXPECT_FALSE(matches("The Lord of a Ring", {"Lord of the Rings"}));
}

TEST(AnswerMatches, DigitGroups) {
  EXPECT_TRUE(matches("About 1,500 metres", {"1500"}));
  EXPECT_TRUE(matches("1500", {"1,500"}));
  EXPECT_TRUE(matches("12,345,678", {"12345678"}));
  EXPECT_FALSE(matches("1,50", {"150"}));
  EXPECT_FALSE(matches("1,5000", {"15000"}));
  EXPECT_TRUE(matches("1939,1945", {"1945"}));
  EXPECT_TRUE(matches("x1,500", {"500"}));
  EXPECT_FALSE(matches("1,500", {"500"}));
}

TEST(AnswerMatches, Decimals) {
  EXPECT_FALSE(matches("about 2.5 million", {"5"}));
  EXPECT_TRUE(matches("about 2.5 million", {"2.5"}));
  EXPECT_TRUE(matches("It is 5.0.", {"5"}));
  EXPECT_TRUE(matches("In 1999.", {"1999"}));
  EXPECT_TRUE(matches("on 12.05.1999", {"1999"}));
  EXPECT_FALSE(matches("1,500.25", {"1500"}));
  EXPECT_TRUE(matches("v2.5", {"5"}));
  EXPECT_TRUE(matches("1. Paris", {"1 Paris"}));
}

TEST(AnswerMatches, Accents) {
  EXPECT_TRUE(matches("Beyoncé", {"beyonce"}));
  EXPECT_TRUE(matches("Sao Paulo", {"SÃO PAULO"}));
  EXPECT_TRUE(matches("ÀÁÂÃÄÅÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖØÙÚÛÜÝ", {"aaaaaaceeeeiiiidnoooooouuuuy"}));
  EXPECT_TRUE(matches("àáâãäåçèéêëìíîïðñòóôõöøùúûüýÿ", {"aaaaaaceeeeiiiidnoooooouuuuyy"}));
  EXPECT_TRUE(matches("3×4", {"3 4"}));
}

TEST(AnswerMatches, Numbers) {
  EXPECT_TRUE(matches("There are Eighteen holes", {"18"}));
  EXPECT_TRUE(matches("0", {"zero"}));
  EXPECT_TRUE(matches("20", {"twenty"}));
  EXPECT_FALSE(matches("180", {"18"}));
  EXPECT_FALSE(matches("seven", {"8"}));
}

TEST(AnswerMatches, WholeWordsOfAnyForm) {
  EXPECT_FALSE(matches("golfers", {"golf"}));
  EXPECT_FALSE(matches("minigolf", {"golf"}));
  EXPECT_TRUE(matches("golf", {"tennis", "golf"}));
  EXPECT_FALSE(matches("golf", {}));
  EXPECT_FALSE(matches("", {"golf"}));
}

TEST(AnswerMatches, OtherScriptsAreLeftAlone) {
  EXPECT_TRUE(matches("Это Гагарин.", {"Гагарин"}));
  EXPECT_FALSE(matches("гагарин", {"Гагарин"}));
  EXPECT_TRUE(matches("東京", {"東京"}));
  EXPECT_FALSE(matches("東京都", {"東京"}));
  EXPECT_TRUE(matches("Dvořák", {"Dvořak"}));  // á folds, ř is none of Latin-1
  EXPECT_FALSE(matches("Dvořák", {"Dvorak"}));
}

TEST(AnswerMatches, BrokenBytesAreHarmless) {
  for (const std::string broken : {"\xC3", "\xE2", "\xE2\x80", "\xC2", "\xFF golf \xC3"}) {
    EXPECT_FALSE(matches(broken, {"tennis"}));
    matches("golf", {broken});
  }
  EXPECT_TRUE(matches("\xFF golf \xC3", {"golf"}));
}

double repetition_of(const std::vector<std::int32_t>& ids) { return repetition(ids); }

TEST(Repetition, SharesOfSeenTriples) {
  EXPECT_EQ(repetition_of({}), 0);
  EXPECT_EQ(repetition_of({1, 1, 1}), 0);
  EXPECT_EQ(repetition_of({1, 2, 3, 4, 5, 6}), 0);
  EXPECT_DOUBLE_EQ(repetition_of({1, 1, 1, 1}), 0.5);
  EXPECT_DOUBLE_EQ(repetition_of({1, 2, 3, 1, 2, 3}), 0.25);  // 123 231 312 123
  EXPECT_EQ(repetition_of({1, 2, 1, 2, 2, 1, 1}), 0);         // pairs recur, triples do not
}

TEST(RougeL, IsTheBalanceOfTheLongestCommonSubsequence) {
  const auto of = [](const std::string& answer, const std::vector<std::string>& accepted) {
    return rouge_l(answer, accepted);
  };
  EXPECT_DOUBLE_EQ(of("Tiger Woods", {"tiger woods"}), 1);
  // Common: "the of greece" of 4 and of 5 words.
  EXPECT_DOUBLE_EQ(of("the king of Greece", {"the islands of all Greece"}), 2 * 3 / 9.0);
  EXPECT_DOUBLE_EQ(of("b a", {"a b"}), 0.5);  // order counts
  EXPECT_DOUBLE_EQ(of("x a", {"q", "a", "a b c d"}), 2 / 3.0);
  EXPECT_EQ(of("", {"a"}), 0);
  EXPECT_EQ(of("z", {"a"}), 0);
}

}  // namespace
}  // namespace quench::tasks
