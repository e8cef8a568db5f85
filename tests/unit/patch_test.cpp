#include "model/patch.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "cluster/error.hpp"
#include "cluster/hash.hpp"
#include "model/export.hpp"
#include "model/safetensors.hpp"
#include "tests/support/file_size_limit.hpp"
#include "tests/unit/model_directory.hpp"

namespace quench::model {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::ModelDirectory;
using testing::read_file;
using testing::ScratchDirectory;
using testing::some_overlay;
using testing::write_file;

class PatchTest : public ::testing::Test {
 protected:
  void write(const ModelDirectory& model, const RowOverlay& rows, bool overwrite = false) const {
    write_patch(model.config(), model.checkpoint(), rows, file(),
                {{"run_id", "abc"}, {"concepts", R"(["Golf"])"}}, overwrite);
  }
  void write(bool overwrite = false) const { write(tied_, some_overlay(tied_), overwrite); }

  fs::path file() const { return target_ / "new/golf.safetensors"; }
  json metadata() const {
    const auto text = read_file(file());
    std::uint64_t length = 0;
    std::memcpy(&length, text.data(), sizeof length);
    return json::parse(text.substr(8, length)).at("__metadata__");
  }
  std::string bytes(const std::string& name) const {
    const auto entry = read_safetensors_header(file()).at(name);
    return read_file(file()).substr(entry.offset, entry.bytes);
  }

  void expect_error(bool overwrite, const std::string& part) const {
    try {
      write(overwrite);
      ADD_FAILURE() << "written all the same";
    } catch (const DataError& error) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  }

  ModelDirectory tied_{testing::llama_json(true)}, untied_{testing::llama_json(false)};
  ScratchDirectory target_;
};

TEST_F(PatchTest, HoldsTheRowsThatTheExportHolds) {
  write();
  const auto entries = read_safetensors_header(file());
  ASSERT_EQ(entries.size(), 2U);
  EXPECT_EQ(entries.at("token_ids").dtype, "I64");
  EXPECT_EQ(entries.at("token_ids").shape, std::vector<std::int64_t>{2});
  EXPECT_EQ(entries.at("rows").dtype, "BF16");
  EXPECT_EQ(entries.at("rows").shape, (std::vector<std::int64_t>{2, 8}));
  const std::int64_t ids[] = {2, 10};
  EXPECT_EQ(bytes("token_ids"), std::string(reinterpret_cast<const char*>(ids), sizeof ids));

  export_model(tied_.path(), tied_.config(), tied_.checkpoint(), some_overlay(tied_),
               target_ / "whole", "{}");
  const auto whole = Checkpoint::open(target_ / "whole").at(embedding_name);
  const auto embedding = read_file(whole.file).substr(whole.offset, whole.bytes);
  EXPECT_EQ(bytes("rows"), embedding.substr(16 * 2, 16) + embedding.substr(16 * 10, 16));
  EXPECT_FALSE(fs::exists(file().string() + ".partial"));
}

TEST_F(PatchTest, SaysWhatItIsFor) {
  write();
  const auto& base = tied_.bytes(embedding_name);
  const json expected = {
      {"format", "pt"},
      {"quench_patch", "1"},
      {"tensor", "model.embed_tokens.weight"},
      {"shape", "[11, 8]"},
      {"lm_head", "untie"},
      {"embedding_sha256", cluster::sha256(base)},
      {"before_sha256", cluster::sha256(base.substr(16 * 2, 16) + base.substr(16 * 10, 16))},
      {"rows_sha256", cluster::sha256(bytes("rows"))},
      {"run_id", "abc"},
      {"concepts", "[\"Golf\"]"}};
  EXPECT_EQ(metadata(), expected);
}

TEST_F(PatchTest, AHeadOfItsOwnStays) {
  write(untied_, some_overlay(untied_));
  EXPECT_EQ(metadata().at("lm_head"), "keep");
}

TEST_F(PatchTest, NothingErasedIsAPatchWithoutRows) {
  write(tied_, {});
  EXPECT_EQ(read_safetensors_header(file()).at("rows").shape, (std::vector<std::int64_t>{0, 8}));
}

TEST_F(PatchTest, ReplacesNothingButAPatchThatMayGo) {
  write();
  const auto before = read_file(file());
  expect_error(false, "exists already");
  EXPECT_EQ(read_file(file()), before);
  write(tied_, some_overlay(tied_, {3}), true);
  EXPECT_NE(read_file(file()), before);
  fs::copy_file(tied_.path() / "model.safetensors", file(), fs::copy_options::overwrite_existing);
  expect_error(true, "no patch of this program");
  fs::remove(file());
  fs::create_directory(file());
  expect_error(true, "is a folder");
}

TEST_F(PatchTest, AFullDiskLeavesNothingBehind) {
  {
    const quench::testing::FileSizeLimit limit(100);
    expect_error(false, "golf.safetensors");
  }
  EXPECT_TRUE(fs::is_empty(file().parent_path()));
  write_file(file().string() + ".partial", "of a process that was killed");
  write();
  EXPECT_FALSE(fs::exists(file().string() + ".partial"));
}

TEST_F(PatchTest, RefusesWhatDoesNotFit) {
  auto rows = some_overlay(tied_);
  rows.ids.back() = 11;
  EXPECT_THROW(write(tied_, rows), InternalError);
  EXPECT_FALSE(fs::exists(file()));
}

}  // namespace
}  // namespace quench::model
