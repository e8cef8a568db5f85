#include <gtest/gtest.h>

#include <set>

#include "cluster/error.hpp"
#include "stages/tasks/letter_order.hpp"
#include "stages/tasks/letter_reply.hpp"
#include "stages/tasks/repetition.hpp"
#include "stages/tasks/task.hpp"

namespace quench::tasks {
namespace {

using corpus::Question;
using Order = std::vector<std::int64_t>;

TEST(PythonRandom, ShufflesAndDrawsAsPythonDoes) {
  // random.Random(42).getrandbits(32), and random.Random(1).shuffle(list(range(6))).
  PythonRandom random(42);
  EXPECT_EQ(random.bits(32), 2746317213U);
  EXPECT_EQ(random.bits(32), 478163327U);
  EXPECT_EQ(random.bits(32), 107420369U);
  EXPECT_EQ(PythonRandom(1).shuffled(6), (Order{2, 3, 5, 0, 4, 1}));
  // The forget order of seed 42 (methods 2).
  const auto order = PythonRandom(42).shuffled(300);
  EXPECT_EQ(Order(order.begin(), order.begin() + 10),
            (Order{106, 239, 37, 89, 32, 250, 192, 120, 19, 225}));
}

// Questions of the paper's data (methods 7.2), and where their options go.
const Question golf_test{
    "What sport involves using clubs and a ball to hit it into a series of holes?",
    "Golf",
    {"Golf", "Croquet", "Polo", "Field hockey"},
    {},
    Split::test,
    ""};
const Question greece_test{"What are the three main periods of Greek culture?",
                           "Ancient Greece, Byzantine Greece, and Modern Greece",
                           {"Ancient Greece, Byzantine Greece, and Modern Greece",
                            "Classical Greece, Hellenistic Greece, and Roman Greece",
                            "Archaic Greece, Classical Greece, and Hellenistic Greece",
                            "Minoan Greece, Mycenaean Greece, and Classical Greece"},
                           {},
                           Split::test,
                           ""};
const Question tennis_train{"Which Grand Slam tournament is played on grass courts in tennis?",
                            "Wimbledon",
                            {"Wimbledon", "French Open", "US Open", "Australian Open"},
                            {},
                            Split::train,
                            ""};

TEST(PaperOrder, TestVectors) {
  const auto id = paper_item_id("Golf", Subset::own, golf_test);
  EXPECT_EQ(id.substr(0, 8), "11fffe85");
  EXPECT_EQ(id.substr(56), "e34ed184");
  EXPECT_EQ(paper_seed(id), 2098183111U);
  // Golf | Field hockey | Croquet | Polo
  EXPECT_EQ(letter_order("paper", "", "Golf", Subset::own, golf_test), (Order{0, 3, 1, 2}));
  const auto greece = paper_item_id("Culture of Greece", Subset::own, greece_test);
  EXPECT_EQ(greece.substr(0, 8) + greece.substr(56), "5d95329f93440b5b");
  EXPECT_EQ(paper_seed(greece), 3124067171U);
  EXPECT_EQ(letter_order("paper", "", "Culture of Greece", Subset::own, greece_test)[2], 0);  // C
  EXPECT_EQ(paper_seed(paper_item_id("Golf", Subset::similar, tennis_train)), 3491494430U);
  EXPECT_EQ(letter_order("paper", "", "Golf", Subset::similar, tennis_train)[1], 0);  // B
}

TEST(PaperOrder, GeneralOptionsStandAsGiven) {
  EXPECT_EQ(letter_order("paper", "", "", Subset::general, golf_test), (Order{0, 1, 2, 3}));
  EXPECT_NE(letter_order("keyed", "a", "", Subset::own, golf_test),
            letter_order("keyed", "c", "", Subset::own, golf_test));
}

TEST(Question, KnowsTheRightOneOfEqualOptions) {
  Question question = golf_test;
  question.options = {"Golf", "Polo", "Golf", "Croquet"};
  EXPECT_EQ(question.correct(), 0);
  question.place = 2;
  EXPECT_EQ(question.correct(), 2);
}

TEST(FirstLetter, StandsAlone) {
  EXPECT_EQ(first_letter("B"), 1);
  EXPECT_EQ(first_letter("The answer is (C)."), 2);
  EXPECT_EQ(first_letter("**D**"), 3);
  EXPECT_EQ(first_letter("A. Golf"), 0);
  EXPECT_EQ(first_letter("Because Croquet, B"), 1);
  EXPECT_EQ(first_letter("b, E or BC"), -1);
  EXPECT_EQ(first_letter("A_ É"), -1);
  // Beyond ASCII letters and digits are words, punctuation and spaces are not (as Python's \b).
  EXPECT_EQ(first_letter("“A”"), 0);
  EXPECT_EQ(first_letter("B—because"), 1);
  EXPECT_EQ(first_letter("C…"), 2);
  EXPECT_EQ(first_letter("答案：D。"), 3);
  EXPECT_EQ(first_letter("A\u00A0"), 0);
  EXPECT_EQ(first_letter("Aé"), -1);
  EXPECT_EQ(first_letter("答案D"), -1);
  EXPECT_EQ(first_letter("B²"), -1);
  EXPECT_EQ(first_letter("\xFF"
                         "C\xE2\x80"),
            2);  // broken bytes are no word
  EXPECT_EQ(first_letter(""), -1);
}

TEST(BehindMark, CutsAtTheFirstOneWhereverItIs) {
  EXPECT_EQ(behind_mark("user\nA. x\nmodel\nB", "model\n"), "B");
  EXPECT_EQ(behind_mark("Which one?\nA. a role model\nB. y\nmodel\nC", "model\n"),
            "B. y\nmodel\nC");  // the reference's mistake
  EXPECT_EQ(behind_mark("a model B", "model\n"), " B");
  EXPECT_EQ(behind_mark("none", "model\n"), "none");
  EXPECT_EQ(behind_mark("x assistant\n\nD", "assistant\n\n"), "D");
}

TEST(Repetition, ThreeGramsAndDistinctOnes) {
  using Ids = std::vector<std::int32_t>;
  EXPECT_EQ(repetition(Ids{1, 1, 1}), 0);
  EXPECT_DOUBLE_EQ(repetition(Ids{1, 1, 1, 1}), 0.5);
  EXPECT_DOUBLE_EQ(distinct(Ids{1, 2, 1, 2}, 1), 0.5);
  EXPECT_DOUBLE_EQ(distinct(Ids{1, 2, 1, 2}, 2), 2 / 3.0);
  EXPECT_EQ(distinct(Ids{1}, 2), 1);
}

TEST(Registry, EveryTaskHasItsOwnKindAndNumbers) {
  std::set<ProbeKind> kinds;
  std::set<std::string> names, numbers;
  for (const auto* task : all_tasks()) {
    EXPECT_EQ(&task_of(task->kind()), task);
    EXPECT_TRUE(kinds.insert(task->kind()).second);
    EXPECT_TRUE(names.insert(task->name()).second);
    for (const auto& number : task->numbers()) EXPECT_TRUE(numbers.insert(number.name).second);
    EXPECT_FALSE(task->subsets().empty());
    // A measurement that failed has no numbers.
    std::vector<Ratio> ratios(task->numbers().size());
    task->read({}, {}, {}, ratios);
    for (const auto& ratio : ratios) EXPECT_EQ(ratio.whole, 0);
  }
  EXPECT_THROW(task_of(ProbeKind{200}), InternalError);
}

}  // namespace
}  // namespace quench::tasks
