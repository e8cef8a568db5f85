#include "stages/options.hpp"

#include <gtest/gtest.h>

#include <limits>

namespace quench {
namespace {

struct Bound {
  bool flag = true;
  std::int64_t count = 100;
  double share = 0.1;
  std::string style = "auto";
  std::vector<double> strengths{1, 2.5};
  std::vector<std::string> names;
  OptionTable table;

  Bound() {
    table.add("eval.flag", flag, "a flag");
    table.add("dictionary.rank", count, "features", {1, std::numeric_limits<double>::infinity()});
    table.add("dictionary.density", share, "share", {0, 1});
    table.add_choice("corpus.style", style, "prompts", {"auto", "plain"});
    table.add("erasure.strengths", strengths, "strengths", {0, 100});
    table.add("corpus.names", names, "names");
  }
};

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "nothing thrown";
}

TEST(Options, SetsEveryType) {
  Bound bound;
  bound.table.set("eval.flag", "false");
  bound.table.set("dictionary.rank", "-7");
  bound.table.set("dictionary.density", "1e-3");
  bound.table.set("corpus.style", "plain");
  bound.table.set("erasure.strengths", "0.5, 3,1e2");
  bound.table.set("corpus.names", R"(Golf, Paris\, Texas ,back\\slash, C\x)");
  EXPECT_FALSE(bound.flag);
  EXPECT_EQ(bound.count, -7);
  EXPECT_EQ(bound.share, 1e-3);
  EXPECT_EQ(bound.style, "plain");
  EXPECT_EQ(bound.strengths, (std::vector<double>{0.5, 3, 100}));
  EXPECT_EQ(bound.names,
            (std::vector<std::string>{"Golf", "Paris, Texas", R"(back\slash)", R"(C\x)"}));
  bound.table.set("corpus.names", "");
  EXPECT_TRUE(bound.names.empty());
}

TEST(Options, ValuesAreCanonicalAndComeBack) {
  Bound bound;
  bound.share = 1.0 / 3;
  bound.strengths = {1e-300, 5, 0.1};
  bound.names = {"a,b", R"(c\,d)", "é\"\xF0\x9F\x99\x82"};
  const auto values = bound.table.values();
  EXPECT_EQ(values.at("dictionary.rank"), "100");
  EXPECT_EQ(values.at("dictionary.density"), "0.3333333333333333");
  EXPECT_EQ(values.at("erasure.strengths"), "1e-300,5,0.1");
  EXPECT_EQ(values.at("eval.flag"), "true");

  Bound other;
  for (const auto& [key, value] : values) other.table.set(key, value);
  EXPECT_EQ(other.share, bound.share);
  EXPECT_EQ(other.strengths, bound.strengths);
  EXPECT_EQ(other.names, bound.names);
  EXPECT_EQ(other.table.values(), values);
}

TEST(Options, WrongTypesAreRefusedWithKeyAndValue) {
  Bound bound;
  for (const auto& pair :
       std::vector<std::pair<std::string, std::string>>{{"eval.flag", "yes"},
                                                        {"dictionary.rank", "12x"},
                                                        {"dictionary.rank", "1.5"},
                                                        {"dictionary.rank", ""},
                                                        {"dictionary.rank", "99999999999999999999"},
                                                        {"dictionary.density", "nan"},
                                                        {"dictionary.density", "0.1 "},
                                                        {"erasure.strengths", "1,,2"},
                                                        {"erasure.strengths", "1,two"},
                                                        {"corpus.names", "Golf,"}}) {
    const auto &key = pair.first, &text = pair.second;
    const auto message = message_of([&] { bound.table.set(key, text); });
    EXPECT_NE(message.find(key), std::string::npos) << key << " " << text << ": " << message;
    EXPECT_NE(message.find("is not"), std::string::npos) << key << " " << text << ": " << message;
  }
  EXPECT_EQ(bound.count, 100);
  EXPECT_EQ(bound.strengths, (std::vector<double>{1, 2.5}));
}

TEST(Options, UnknownKeyNamesTheNearestOne) {
  Bound bound;
  EXPECT_EQ(message_of([&] { bound.table.set("dictionry.rnk", "1"); }),
            "unknown option 'dictionry.rnk'; the nearest known one is 'dictionary.rank'");
  EXPECT_EQ(message_of([&] { bound.table.set("strength", "1"); }),
            "unknown option 'strength'; the nearest known one is 'erasure.strengths'");
}

TEST(Options, ValidateTellsEverythingOutOfRange) {
  Bound bound;
  Problems none;
  bound.table.validate(none);
  EXPECT_TRUE(none.empty());

  bound.table.set("dictionary.rank", "0");
  bound.table.set("dictionary.density", "1.5");
  bound.table.set("corpus.style", "chatty");
  bound.table.set("erasure.strengths", "1,-2,3");
  Problems problems;
  bound.table.validate(problems);
  EXPECT_EQ(problems.list(), (std::vector<std::string>{
                                 "corpus.style: 'chatty' is not allowed; allowed: auto | plain",
                                 "dictionary.density: '1.5' is not allowed; allowed: 0 to 1",
                                 "dictionary.rank: '0' is not allowed; allowed: at least 1",
                                 "erasure.strengths: '1,-2,3' is not allowed; allowed: 0 to 100",
                             }));
}

TEST(Options, FingerprintDependsOnItsPrefixesAlone) {
  Bound a, b;
  b.table.set("corpus.style", "plain");
  EXPECT_EQ(a.table.fingerprint({"dictionary."}), b.table.fingerprint({"dictionary."}));
  EXPECT_NE(a.table.fingerprint({"dictionary.", "corpus."}),
            b.table.fingerprint({"dictionary.", "corpus."}));
  b.table.set("dictionary.rank", "101");
  EXPECT_NE(a.table.fingerprint({"dictionary."}), b.table.fingerprint({"dictionary."}));
  EXPECT_EQ(a.table.fingerprint({"dictionary."}, {"dictionary.rank"}),
            b.table.fingerprint({"dictionary."}, {"dictionary.rank"}));
}

TEST(Options, HelpHoldsDefaultsBySection) {
  Bound bound;
  bound.table.set("dictionary.rank", "7");
  const auto help = bound.table.help();
  EXPECT_NE(help.find("dictionary\n  dictionary.density = 0.1\n"), std::string::npos) << help;
  EXPECT_NE(help.find("dictionary.rank = 100\n      features [at least 1]\n"), std::string::npos);
  EXPECT_NE(help.find("[auto | plain]"), std::string::npos);
}

TEST(Options, ADoubledKeyIsOurBug) {
  Bound bound;
  EXPECT_THROW(bound.table.add("eval.flag", bound.count, ""), InternalError);
}

TEST(Options, NearestOfEqualsIsTheFirst) {
  const std::vector<std::string> known{"gold", "golf", "wolf"};
  EXPECT_EQ(nearest_of("golf", known), "golf");
  EXPECT_EQ(nearest_of("olf", known), "golf");
  EXPECT_EQ(nearest_of("golg", known), "gold");
  EXPECT_EQ(nearest_of("", known), "gold");
  EXPECT_EQ(nearest_of("golf", {}), "");
}

}  // namespace
}  // namespace quench
