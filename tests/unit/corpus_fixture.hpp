#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "stages/corpus/corpus.hpp"
#include "tests/support/scratch_directory.hpp"

namespace quench::corpus::testing {

using nlohmann::json;
using Ids = std::vector<std::int32_t>;

inline constexpr std::int32_t bos = 300, turn_start = 301, turn_end = 302, ab = 256;

// Every printable ASCII byte is a token of its own (a space is "Ġ", a line break "Ċ"), "ab" is one
// too.
inline json make_tokenizer(bool with_bos) {
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
inline Ids bytes(const std::string& text) { return {text.begin(), text.end()}; }

inline Ids operator+(Ids a, const Ids& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

inline json make_question(const std::string& text, const std::string& answer) {
  return {{"question", text}, {"answer", answer}, {"options", {"red", "green", "blue", "grey"}}};
}

inline json make_concept(const std::string& name) {
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

inline std::vector<Probe> select(const std::vector<Probe>& probes, ProbeKind kind) {
  std::vector<Probe> selected;
  std::ranges::copy_if(probes, std::back_inserter(selected),
                       [&](const Probe& probe) { return probe.kind == kind; });
  return selected;
}

}  // namespace quench::corpus::testing
