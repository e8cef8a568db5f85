#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "cluster/error.hpp"
#include "stages/corpus/catalog.hpp"
#include "tests/support/scratch_directory.hpp"

namespace quench::corpus {
namespace {

using nlohmann::json;

json group(const std::string& name) {
  const auto question = [](const std::string& text) {
    return json{{"question", text}, {"answer", "a"}, {"options", {"a", "b", "c", "d"}}};
  };
  return {{"train", {question(name + " one?")}}, {"test", {question(name + " two?")}}};
}

class SensitiveConcept : public ::testing::Test {
 protected:
  SensitiveConcept()
      : record_{{"name", "Poison"},
                {"aliases", json::array()},
                {"sentences", {"A sentence."}},
                {"questions", {{"concept", group("Own")}, {"similar", group("Similar")}}},
                {"paragraphs", json::array()}} {}

  ConceptEntry entry() {
    std::ofstream(dir_ / "concepts.jsonl") << record_.dump() << "\n";
    return index_catalog(dir_.path()).at(0);
  }

  quench::testing::ScratchDirectory dir_;
  json record_;
};

TEST_F(SensitiveConcept, IsNoneUnlessItIsMarked) {
  EXPECT_FALSE(entry().sensitive);
  record_["sensitive"] = false;
  EXPECT_FALSE(entry().sensitive);
  record_["sensitive"] = true;
  EXPECT_TRUE(entry().sensitive);
}

TEST_F(SensitiveConcept, TheMarkIsNoPartOfItsIdentity) {
  const auto unmarked = entry();
  record_["sensitive"] = true;
  const auto marked = entry();
  EXPECT_EQ(marked.hash, unmarked.hash);
  EXPECT_EQ(read_concept(dir_.path(), marked).name, "Poison");
  EXPECT_EQ(read_concept(dir_.path(), marked).hash, unmarked.hash);
  record_["sentences"][0] = "Another sentence.";
  EXPECT_NE(entry().hash, unmarked.hash);
}

TEST_F(SensitiveConcept, IsTrueOrFalse) {
  for (const json& wrong : {json("yes"), json(1), json(nullptr)}) {
    record_["sensitive"] = wrong;
    EXPECT_THROW(entry(), DataError);
    const auto problems = check_catalog(dir_.path());
    EXPECT_EQ(
        to_text(problems.at(0)),
        std::string("concepts.jsonl:1: sensitive: must be true or false, is ") + wrong.type_name());
  }
}

}  // namespace
}  // namespace quench::corpus
