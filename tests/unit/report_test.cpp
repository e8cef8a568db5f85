#include "stages/report/report.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <limits>
#include <sstream>

#include "cluster/error.hpp"
#include "cluster/store.hpp"
#include "stages/report/csv.hpp"
#include "stages/report/gather.hpp"
#include "stages/report/page.hpp"
#include "stages/report/text_table.hpp"
#include "stages/schemas.hpp"
#include "tests/support/scratch_directory.hpp"

namespace quench::report {
namespace {

using nlohmann::json;
using Strings = std::vector<std::string>;
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(CsvCell, QuotesWhatMustBe) {
  EXPECT_EQ(csv_cell("Golf"), "Golf");
  EXPECT_EQ(csv_cell(""), "");
  EXPECT_EQ(csv_cell("Golf, the game"), "\"Golf, the game\"");
  EXPECT_EQ(csv_cell("a \"b\""), "\"a \"\"b\"\"\"");
  EXPECT_EQ(csv_cell("a\nb"), "\"a\nb\"");
  EXPECT_EQ(csv_cell("a\rb"), "\"a\rb\"");
  EXPECT_EQ(csv_cell("Valentine's; Day"), "Valentine's; Day");
}

TEST(CsvCell, FormulasStayText) {
  EXPECT_EQ(csv_cell("=HYPERLINK(1)"), "'=HYPERLINK(1)");
  EXPECT_EQ(csv_cell("+1"), "'+1");
  EXPECT_EQ(csv_cell("-1, not"), "\"'-1, not\"");
  EXPECT_EQ(csv_cell("@sum"), "'@sum");
  EXPECT_EQ(csv_cell("\r=1"), "\"'\r=1\"");
  EXPECT_EQ(csv_cell("a=b"), "a=b");
}

TEST(DisplayWidth, WideAndCombining) {
  EXPECT_EQ(display_width("Golf"), 4U);
  EXPECT_EQ(display_width("Beyoncé"), 7U);
  EXPECT_EQ(display_width("Beyonce\u0301"), 7U);
  EXPECT_EQ(display_width("東京"), 4U);
  EXPECT_EQ(display_width("한국"), 4U);
  EXPECT_EQ(display_width("🎃"), 2U);
  EXPECT_EQ(display_width("\xFFgolf\xE6"), 6U);  // broken bytes stand for themselves
}

TEST(CutToWidth, KeepsCharactersWhole) {
  EXPECT_EQ(cut_to_width("Golf", 4), "Golf");
  EXPECT_EQ(cut_to_width("Golfer", 4), "Gol…");
  EXPECT_EQ(cut_to_width("東京都", 6), "東京都");
  EXPECT_EQ(cut_to_width("東京都庁", 6), "東京…");
  EXPECT_EQ(cut_to_width("東京都庁", 5), "東京…");
  EXPECT_EQ(cut_to_width("東京都庁", 4), "東…");
  EXPECT_EQ(cut_to_width("cafe\u0301 noir", 5), "cafe\u0301…");
}

Strings lines_of(const std::string& text) {
  std::istringstream stream(text);
  Strings lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

TEST(TextTable, AlignsWhateverTheScript) {
  TextTable table({"concept", "n"});
  table.add_columns({"share"});
  table.add_row({"Golf", "7", "50%"});
  table.add_row({"東京", "1000"});
  table.add_row({});
  table.add_row({"Beyonce\u0301", "x", "–"});
  table.add_row({std::string(40, 'g'), "1", "1"});
  const auto lines = lines_of(table.text());
  ASSERT_EQ(lines.size(), 7U);
  for (const auto& line : lines) EXPECT_EQ(display_width(line), 28 + 2 + 4 + 2 + 5U) << line;
  const auto spaces = [](int count) { return std::string(static_cast<std::size_t>(count), ' '); };
  EXPECT_EQ(lines[0], "concept" + spaces(21 + 2 + 3) + "n  share");
  EXPECT_EQ(lines[2], "Golf" + spaces(24 + 2 + 3) + "7" + spaces(2 + 2) + "50%");
  EXPECT_EQ(lines[3], "東京" + spaces(24 + 2) + "1000" + spaces(2 + 5));
  EXPECT_EQ(lines[1], lines[4]);  // rules
  EXPECT_EQ(count_of(lines[1], "─"), 41U);
  EXPECT_EQ(lines[6].substr(0, 30), std::string(27, 'g') + "…");
}

TEST(TextTable, ANameCannotMoveTheCursor) {
  TextTable table({"concept"});
  table.add_row({"a\x1B[2Jb\nc\x7F\u009Bd"});
  EXPECT_EQ(lines_of(table.text()).at(2), "a [2Jb c  d");
}

const std::string hostile = "</script><b>&\"'<!--<script>";

// The text of the page's data element.
std::string data_of(const std::string& page) {
  const std::string open = "<script type=\"application/json\" id=\"data\">";
  const auto begin = page.find(open) + open.size();
  return page.substr(begin, page.find("</script>", begin) - begin);
}

TEST(HtmlPage, DataCannotLeaveItsElement) {
  const json document = {{"concepts", {{{"name", hostile}}}}, {"notes", {hostile, "{{data}}"}}};
  const auto page = html_page(document);
  const auto data = data_of(page);
  EXPECT_EQ(data.find('<'), std::string::npos);
  EXPECT_EQ(json::parse(data), document);
  const auto harmless = html_page({{"concepts", {{{"name", "Golf"}}}}});
  for (const auto* part : {"<script", "</script", "<b>", "<!--"}) {
    EXPECT_EQ(count_of(page, part), count_of(harmless, part)) << part;
  }
  EXPECT_EQ(count_of(page, "</script"), 3U);
}

TEST(HtmlPage, IsWholeAndSelfContained) {
  const auto page = html_page({{"concepts", json::array()}});
  EXPECT_TRUE(page.starts_with("<!doctype html>"));
  EXPECT_TRUE(page.ends_with("</html>\n"));
  EXPECT_GT(page.size(), 100000U);  // Chart.js
  for (const auto* part : {"{{css}}", "{{data}}", "{{chart}}", "{{script}}", " src=", "<link"}) {
    EXPECT_EQ(page.find(part), std::string::npos) << part;
  }
  EXPECT_NE(page.find("JSON.parse"), std::string::npos);
}

TEST(HtmlPage, BrokenTextIsStillJson) {
  EXPECT_EQ(json::parse(data_of(html_page({{"name", "\xFF\u2028"}})))["name"], "\uFFFD\u2028");
}

// A run directory whose files this test writes, of three concepts.
class Report : public ::testing::Test {
 protected:
  void SetUp() override {
    cluster::StoreWriter store(*comm_, directory_ / "corpus.h5",
                               {"corpus", schemas::corpus, "run", "inputs"});
    store.write_strings("concepts/name", names_);
    write<std::int64_t>(store, "concepts/sentence_count", {3, 4, 5});
    store.finish();
  }

  template <typename T>
  static void write(cluster::StoreWriter& store, const std::string& name,
                    const std::vector<T>& values, std::vector<std::int64_t> shape = {}) {
    store.write_rows<T>(name, values, std::move(shape));
  }
  std::unique_ptr<cluster::StoreWriter> store(const std::string& file, const std::string& stage,
                                              std::int64_t schema) {
    return std::make_unique<cluster::StoreWriter>(
        *comm_, directory_ / file, cluster::StoreHeader{stage, schema, "run", "inputs"});
  }

  void write_edits() {
    const auto s = store("edits.h5", "erasure", schemas::edits);
    write<double>(*s, "edits/strength", {5, 0, 0});
    s->write_strings("edits/status", {"ok", "no_features", "failed"});
    s->write_strings("cells/figures",
                     {"efficacy", "efficacy_low", "efficacy_high", "efficacy_n", "harmonic",
                      "harmonic_low", "harmonic_high", "harmonic_n", "measured"});
    write<std::int64_t>(*s, "cells/concept", {0, 0});
    write<double>(*s, "cells/strength", {1, 5});
    write<std::uint8_t>(*s, "cells/passed", {0, 1});
    write<double>(*s, "cells/error", {nan, 0.125});
    write<double>(*s, "cells/scores",
                  {0.25, 0.125, 0.375, 12, nan, nan, nan, 0, 30,  //
                   0.75, 0.5, 0.875, 12, 0.5, 0.25, 0.625, 40, 31},
                  {9});
    write<double>(*s, "joint/factors", {1, 0.8});
    write<double>(*s, "joint/scores",
                  {0.1, 0, 0.2, 3, 0.2, 0.1, 0.3, 3, 7,  //
                   0.3, 0.2, 0.5, 3, 0.4, 0.3, 0.6, 2, 8},
                  {9});
    s->attribute("/", "search", std::string("target"));
    s->attribute("/", "target_efficacy", 0.75);
    s->attribute("/", "joint_factor", 0.8);
    s->attribute("/", "joint_status", std::string("ok"));
    s->attribute("/", "shared_tokens", std::string("skip"));
    s->write_ragged<std::int32_t>("edits/shared", {{7, 8}, {}, {7}});
    s->write_ragged<std::int32_t>("edits/dropped", {{8}, {}, {}});
    write<std::int64_t>(*s, "overlaps/first", {0, 0});
    write<std::int64_t>(*s, "overlaps/second", {1, 2});
    write<std::int64_t>(*s, "overlaps/tokens", {1, 2});
    write<double>(*s, "overlaps/cosine", {0.5, nan});
    s->finish();
  }

  void write_evaluation() {
    const auto s = store("evaluation.h5", "evaluation", schemas::evaluation);
    Strings columns;
    for (const std::string name : {"own_left", "efficacy", "specificity"}) {
      columns.insert(columns.end(), {name, name + "_low", name + "_high", name + "_n"});
    }
    columns.insert(columns.end(), {"reused", "measured"});
    s->write_strings("figures", columns);
    s->write_strings("status", {"ok", "no_features", "failed"});
    const std::vector<double> row = {0.25, 0.2, 0.3, 20,  0.75, 0.7, 0.8,
                                     20,   0.5, 0.5, 0.5, 20,   3,   4};
    std::vector<double> rows = row;
    rows.insert(rows.end(), row.begin(), row.end());
    rows.insert(rows.end(), row.size(), nan);
    for (const char* which : {"alone", "joint"}) {
      write(*s, std::string(which) + "/scores", rows, {14});
      write(*s, std::string(which) + "/mean", row, {14});
    }
    s->attribute("/", "counted_concepts", std::int64_t{1});
    write<std::int64_t>(*s, "curve/erased", {1, 2});
    std::vector<double> points = row;
    points.insert(points.end(), row.begin(), row.end());
    write(*s, "curve/means", points, {14});
    for (auto& x : points) x *= 2;
    write(*s, "curve/alone", points, {14});
    s->attribute("/", "objective", std::string("margin"));
    s->attribute("/", "form", std::string("choice"));
    s->finish();
  }

  // A judge's verdicts on the answers of an evaluation with these inputs.
  void write_judgement(const std::string& inputs) {
    cluster::StoreWriter s(*comm_, directory_ / "judgement.h5",
                           {"judgement", schemas::judgement, "run", inputs});
    s.write_strings("figures", {"base", "joint"});
    write<double>(s, "open/scores", {1, 0.5, 1, 1, 1, 0, 1, nan, nan, nan, 1, 1}, {2, 2});
    write<double>(s, "instructions/scores", {2, 1.5, 2, 1}, {2});
    s.write_strings("joint/figures", {"efficacy", "efficacy_low", "efficacy_high", "efficacy_n"});
    write<double>(s, "joint/scores", {0.5, 0.25, 1, 2, 1, 1, 1, 2, nan, nan, nan, 0}, {4});
    write<double>(s, "joint/mean", {0.5, 0.25, 1, 1}, {4});
    s.attribute("/", "asked", std::int64_t{10});
    s.attribute("/", "missing", std::int64_t{1});
    s.finish();
  }

  void write_relearning() {
    const auto s = store("relearning.h5", "relearning", schemas::relearning);
    write<std::int64_t>(*s, "attacks/concept", {0, 0, 0, 1});
    write<std::int64_t>(*s, "attacks/seed", {0, 0, 1, 0});
    write<std::uint8_t>(*s, "attacks/erased", {1, 0, 1, 1});
    s->write_strings("figures", {"own_left", "own_left_low", "own_left_high", "own_left_n"});
    s->write_ragged<std::int64_t>("curves/steps", {{0, 9}, {0, 9}, {0, 9}, {}});
    s->write_ragged<double>("curves/loss", {{nan, 2.5}, {nan, 2}, {nan, 1}, {}});
    s->write_ragged<double>("curves/figures", {{0.25, 0.2, 0.3, 12, 0.5, 0.4, 0.6, 12},
                                               {1, 1, 1, 12, 0.95, 0.9, 1, 12},
                                               {0.25, 0.2, 0.3, 12, 0.7, 0.6, 0.8, 12},
                                               {}});
    write<std::int64_t>(*s, "over_seeds/concept", {0, 0, 1, 1});
    write<std::int64_t>(*s, "over_seeds/seeds", {2, 1, 0, 0});
    write<std::uint8_t>(*s, "over_seeds/erased", {1, 0, 1, 0});
    s->write_ragged<std::int64_t>("over_seeds/steps", {{0, 9}, {0, 9}, {}, {}});
    s->write_ragged<double>(
        "over_seeds/figures",
        {{0.25, 0.2, 0.3, 12, 0.6, 0.35, 0.85, 12}, {1, 1, 1, 12, 0.95, 0.9, 1, 12}, {}, {}});
    write<std::uint8_t>(*s, "mean/erased", {1, 0});
    s->write_ragged<std::int64_t>("mean/steps", {{0, 9}, {0, 9}});
    s->write_ragged<double>(
        "mean/figures", {{0.25, 0.2, 0.3, 1, 0.55, 0.3, 0.9, 1}, {1, 1, 1, 1, 0.875, 0.75, 1, 1}});
    s->attribute("/", "seeds", std::int64_t{2});
    s->finish();
  }

  std::string text_of(const std::string& file) const {
    std::ifstream stream(directory_ / ("report/" + file), std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
  }
  std::string line(const std::string& text, std::size_t number) const {
    return lines_of(text).at(number);
  }

  quench::testing::ScratchDirectory directory_;
  std::unique_ptr<cluster::Communicator> comm_ = cluster::make_self_communicator();
  const Strings names_ = {"Golf, mini", hostile, "東京"};
};

// Without the blanks that line columns up.
std::string squeezed(const std::string& line) {
  std::istringstream words(line);
  std::string out, word;
  while (words >> word) out += (out.empty() ? "" : " ") + word;
  return out;
}

TEST_F(Report, NothingThere) {
  const quench::testing::ScratchDirectory empty;
  EXPECT_THROW(write_report(empty.path(), {}, Sensitive()), DataError);
  EXPECT_FALSE(std::filesystem::exists(empty / "report"));
  EXPECT_NE(summary_table(empty.path()).find("nothing to show"), std::string::npos);
}

TEST_F(Report, CorpusAlone) {
  const auto summary = write_report(directory_.path(), {}, Sensitive());
  EXPECT_EQ(summary.page, directory_ / "report/index.html");
  const auto data = json::parse(data_of(text_of("index.html")));
  ASSERT_EQ(data["concepts"].size(), 3U);
  EXPECT_EQ(data["concepts"][1]["name"], hostile);
  EXPECT_FALSE(data.contains("mean"));
  EXPECT_EQ(lines_of(summary.table).at(2).substr(0, 10), "Golf, mini");
  EXPECT_EQ(summary.table, summary_table(directory_.path()));
  EXPECT_EQ(text_of("concepts.csv"),
            "concept,status,strength,tokens,features,variants,shared,dropped\r\n"
            "\"Golf, mini\",,,,,,,\r\n"
            "\"</script><b>&\"\"'<!--<script>\",,,,,,,\r\n東京,,,,,,,\r\n");
  EXPECT_EQ(text_of("tokens.csv"), "concept,token,z\r\n");
  EXPECT_EQ(text_of("collisions.csv"), "token,concept\r\n");
  EXPECT_EQ(text_of("overlaps.csv"), "concept,other,tokens,cosine\r\n");
  EXPECT_EQ(text_of("examples.csv"),
            "concept,subset,prompt,accepted,untouched,erased,untouched_right,erased_right,hidden"
            "\r\n");
  for (const auto& entry : std::filesystem::directory_iterator(directory_ / "report")) {
    EXPECT_NE(entry.path().extension(), ".partial");
  }
}

TEST_F(Report, VerdictsOfTheSameEvaluation) {
  const auto data_now = [&] {
    write_report(directory_.path(), {}, Sensitive());
    return json::parse(data_of(text_of("index.html")));
  };
  write_judgement("inputs");
  EXPECT_FALSE(data_now().contains("judged"));  // without an evaluation
  write_evaluation();
  const auto data = data_now();
  EXPECT_EQ(data["judged"]["missing"], 1);
  EXPECT_EQ(data["concepts"][0]["judged"]["own"], json({{"base", 1.0}, {"joint", 0.5}}));
  EXPECT_EQ(data["concepts"][1]["by_judge"]["efficacy"], json({1.0, 1.0, 1.0, 2.0}));
  EXPECT_EQ(data["mean"]["by_judge"]["efficacy"], json({0.5, 0.25, 1.0, 1.0}));
  const auto csv = text_of("concepts.csv");
  EXPECT_NE(line(csv, 0).find(",by_judge_efficacy,by_judge_efficacy_low,"), std::string::npos);
  EXPECT_TRUE(line(csv, 1).ends_with(",0.5,0.25,1.0,2.0,,,,,,,,\r")) << line(csv, 1);
  write_judgement("an earlier evaluation");
  EXPECT_FALSE(data_now().contains("judged"));
  EXPECT_EQ(text_of("concepts.csv").find("by_judge"), std::string::npos);
}

TEST_F(Report, EverythingThatIsThere) {
  write_edits();
  write_evaluation();
  write_relearning();
  const auto table = lines_of(write_report(directory_.path(), {}, Sensitive()).table);
  // Neither the mean of the seeds' interval ends nor a bare control.
  EXPECT_EQ(squeezed(table.at(2)),
            "Golf, mini ok 5 0 20 75% [70–80] 50% – – 60% [35–85] / 95% [90–100] 12 × 2");
  EXPECT_TRUE(squeezed(table.at(4)).ends_with("failed 0 0 – – – – –")) << table[4];
  EXPECT_TRUE(squeezed(table.at(6)).starts_with("mean of edited ones 20 75% [70–80] 50%"))
      << table[6];
  EXPECT_TRUE(squeezed(table.at(6)).ends_with(" 55% [30–90] / 88% [75–100] 1 × 2")) << table[6];

  EXPECT_EQ(text_of("cells.csv"),
            "concept,strength,efficacy,efficacy_low,efficacy_high,efficacy_n,specificity,"
            "specificity_low,specificity_high,specificity_n,coherence,coherence_low,coherence_high,"
            "coherence_n,general_left,general_left_low,general_left_high,general_left_n,own_left,"
            "own_left_low,own_left_high,own_left_n,similar_left,similar_left_low,"
            "similar_left_high,similar_left_n,harmonic,harmonic_low,harmonic_high,harmonic_n,"
            "error,passed,reused,measured\r\n"
            "\"Golf, mini\",1.0,0.25,0.125,0.375,12.0" +
                std::string(21, ',') +
                ",,,0.0,,false,,30.0\r\n"
                "\"Golf, mini\",5.0,0.75,0.5,0.875,12.0" +
                std::string(21, ',') + "0.5,0.25,0.625,40.0,0.125,true,,31.0\r\n");
  const auto concepts = text_of("concepts.csv");
  EXPECT_TRUE(line(concepts, 0)
                  .starts_with("concept,status,strength,tokens,features,variants,shared,dropped,"
                               "joint_efficacy,joint_efficacy_low,"));
  EXPECT_TRUE(
      line(concepts, 1).starts_with("\"Golf, mini\",ok,5.0,,,,2,1,0.75,0.7,0.8,20.0,0.25,0.2,"));
  EXPECT_EQ(line(concepts, 3), "東京,failed,0.0,,,,1,0," + std::string(23, ',') + "\r");
  EXPECT_EQ(line(text_of("relearning.csv"), 2),
            "\"Golf, mini\",0,erased,9,2.5" + std::string(17, ',') + "0.5,0.4,0.6,12.0,,,,\r");
  EXPECT_TRUE(line(text_of("relearning.csv"), 0)
                  .starts_with("concept,seed,start,step,loss,own_accuracy,own_accuracy_low,"
                               "own_accuracy_high,own_accuracy_n,own_margin,"));
  EXPECT_EQ(lines_of(text_of("relearning.csv")).size(), 7U);
  const auto means = text_of("relearning_means.csv");
  EXPECT_TRUE(
      line(means, 0).starts_with("concept,seeds,start,step,own_accuracy,own_accuracy_low,"));
  EXPECT_EQ(lines_of(means).size(), 9U);
  const auto before = std::string(17, ',');
  EXPECT_EQ(line(means, 2), "\"Golf, mini\",2,erased,9" + before + "0.6,0.35,0.85,12.0,,,,\r");
  EXPECT_EQ(line(means, 4), "\"Golf, mini\",1,untouched,9" + before + "0.95,0.9,1.0,12.0,,,,\r");
  EXPECT_EQ(line(means, 8), ",2,untouched,9" + before + "0.875,0.75,1.0,1.0,,,,\r");

  const auto data = json::parse(data_of(text_of("index.html")));
  EXPECT_EQ(data["mean"]["joint"]["efficacy"], json({0.75, 0.7, 0.8, 20.0}));
  EXPECT_EQ(data["curve"][1]["erased"], 2);
  EXPECT_EQ(data["curve"][1]["own_left"], json({0.25, 0.2, 0.3, 20.0}));
  EXPECT_EQ(data["curve"][1]["alone"]["own_left"], json({0.5, 0.4, 0.6, 40.0}));
  EXPECT_TRUE(line(text_of("curve.csv"), 2).starts_with("2,0.75,0.7,0.8,20.0,0.5,0.5,0.5,20.0,"));
  EXPECT_EQ(data["concepts"][0]["joint"]["reused"], 3.0);
  EXPECT_EQ(data["concepts"][2]["joint"]["efficacy"], json({nullptr, nullptr, nullptr, nullptr}));
  EXPECT_EQ(data["concepts"][0]["cells"][0]["harmonic"], json({nullptr, nullptr, nullptr, 0.0}));
  EXPECT_EQ(data["concepts"][0]["cells"][1]["efficacy"], json({0.75, 0.5, 0.875, 12.0}));
  EXPECT_EQ(data["concepts"][0]["cells"][1]["measured"], 31.0);
  EXPECT_EQ(data["concepts"][0]["cells"][1]["passed"], true);
  EXPECT_EQ(data["joint"]["tried"][1]["factor"], 0.8);
  EXPECT_EQ(data["joint"]["tried"][1]["harmonic"], json({0.4, 0.3, 0.6, 2.0}));
  EXPECT_EQ(data["counted"], 1);
  EXPECT_EQ(data["concepts"][0]["dropped"], json({"#8"}));
  EXPECT_EQ(data["overlaps"], json::parse("[[0, 2, 2, null], [0, 1, 1, 0.5]]"));
  EXPECT_EQ(line(text_of("overlaps.csv"), 2),
            "\"Golf, mini\",\"</script><b>&\"\"'<!--<script>\",1,0.5\r");
  EXPECT_TRUE(data["attacks"][3]["points"].empty());
  EXPECT_EQ(data["attacks"][1]["points"][1]["own_left"], json({0.95, 0.9, 1.0, 12.0}));
  const auto& golf = data["concepts"][0]["relearning"];
  EXPECT_EQ(golf["erased"]["seeds"], 2);
  EXPECT_EQ(golf["erased"]["points"][1]["own_left"], json({0.6, 0.35, 0.85, 12.0}));
  EXPECT_EQ(golf["untouched"]["points"][1]["step"], 9);
  EXPECT_TRUE(data["concepts"][1]["relearning"]["erased"]["points"].empty());
  EXPECT_FALSE(data["concepts"][2].contains("relearning"));
  EXPECT_EQ(data["relearning"]["untouched"]["points"][1]["own_left"],
            json({0.875, 0.75, 1.0, 1.0}));
}

TEST_F(Report, DamagedFilesAreLeftOut) {
  std::ofstream(directory_ / "edits.h5") << "not HDF5";
  std::ofstream(directory_ / "manifest.json") << "{\"run_id\": ";
  std::ofstream(directory_ / "timings.json") << "{\"a\": 1}";
  write_report(directory_.path(), {}, Sensitive());
  const auto data = json::parse(data_of(text_of("index.html")));
  EXPECT_TRUE(data["manifest"].is_null());
  EXPECT_EQ(data["timings"]["a"], 1);
  EXPECT_FALSE(data["concepts"][0].contains("status"));
}

TEST_F(Report, SelectionWithItsDictionary) {
  const auto s = store("selection.h5", "selection", schemas::selection);
  s->write_ragged<std::int32_t>("tokens/ids", {{7, 8}, {}, {9}});
  s->write_ragged<double>("tokens/z", {{1.5, 2.5}, {}, {3}});
  write<std::int64_t>(*s, "concepts/feature_count", {2, 0, 1});
  write<double>(*s, "features/contrast", {4, 5, 6});
  write<double>(*s, "features/own_share", {0.4, 0.5, 0.6});
  write<double>(*s, "features/ratio", {1, 2, nan});
  write<std::uint8_t>(*s, "features/selected", {1, 1, 0});
  write<std::int32_t>(*s, "collisions/tokens", {7, 9});
  s->write_ragged<std::int64_t>("collisions/concepts", {{0, 1}, {0, 1, 2}});
  s->write_ragged<std::int32_t>("variants/ids", {{17}, {}, {}});
  s->write_ragged<std::int32_t>("variants/stems", {{7}, {}, {}});
  write<std::uint8_t>(*s, "concepts/alone", {0, 0, 1});
  write<std::uint8_t>(*s, "features/judged", {1, 3, 0});
  s->finish();
  const auto d = store("dictionary.h5", "dictionary", schemas::dictionary);
  d->write_ragged<double>("dictionaries/objective", {{3, 2, 1}, {}, {5}});
  d->write_strings("dictionaries/stop_reason", {"settled", "failed", "iterations"});
  write<double>(*d, "dictionaries/ridge", {0.1, nan, 0.3});
  d->write_ragged<std::int32_t>("dictionaries/tokens", {{7, 8}, {}, {9}});
  d->write_ragged<std::int32_t>("g/rows", {{0, 1}, {1}, {0}});
  d->write_ragged<float>("g/values", {{0.5f, -2}, {1}, {1}});
  d->attribute("/", "joint", std::int64_t{0});
  d->finish();

  write_report(directory_.path(), {}, Sensitive());
  const auto data = json::parse(data_of(text_of("index.html")));
  const auto& golf = data["concepts"][0];
  EXPECT_EQ(golf["tokens"], json::parse(R"([["#8", 2.5], ["#7", 1.5]])"));
  EXPECT_EQ(golf["features"][0]["id"], 1);  // the higher contrast first
  EXPECT_EQ(golf["features"][0]["tokens"], json({"#8"}));
  EXPECT_EQ(golf["features"][1]["tokens"], json({"#8", "#7"}));  // the larger coefficient first
  EXPECT_EQ(golf["iterations"], 3);
  EXPECT_EQ(golf["variants"], json::parse(R"([["#17", "#7"]])"));
  EXPECT_EQ(golf["variant_count"], 1);
  EXPECT_FALSE(golf["contrasted_alone"]);
  EXPECT_TRUE(data["concepts"][2]["contrasted_alone"]);
  EXPECT_EQ(data["judge"], json({{"asked", 2}, {"missing", 1}}));
  EXPECT_EQ(data["concepts"][2]["feature_count"], 0);
  EXPECT_EQ(data["concepts"][2]["token_count"], 1);
  EXPECT_EQ(data["concepts"][1]["ridge"], nullptr);
  EXPECT_EQ(data["collisions"], json::parse(R"([["#9", [0, 1, 2]], ["#7", [0, 1]]])"));
  EXPECT_EQ(lines_of(text_of("collisions.csv")).size(), 6U);
  EXPECT_EQ(line(text_of("tokens.csv"), 1), "\"Golf, mini\",#8,2.5\r");
}

}  // namespace
}  // namespace quench::report
