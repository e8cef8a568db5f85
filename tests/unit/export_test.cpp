#include "model/export.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "cluster/error.hpp"
#include "tests/support/file_size_limit.hpp"
#include "tests/unit/model_directory.hpp"

namespace quench::model {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::ModelDirectory;
using testing::read_file;
using testing::ScratchDirectory;
using testing::write_file;

const std::string provenance = R"({"concepts": ["Golf"], "strength": 0.5})";

class ExportTest : public ::testing::Test {
 protected:
  explicit ExportTest(const json& config = testing::llama_json(true)) : model_(config) {}

  RowOverlay overlay() const { return testing::some_overlay(model_); }
  void run(bool overwrite = false, std::int64_t shard_bytes = default_shard_bytes) const {
    export_model(model_.path(), model_.config(), model_.checkpoint(), overlay(), out(), provenance,
                 overwrite, shard_bytes);
  }
  fs::path out() const { return target_ / "erased"; }

  // Nothing but `names` is in the folder that holds the export.
  void expect_only(const std::set<std::string>& names) const {
    std::set<std::string> found;
    for (const auto& entry : fs::directory_iterator(target_.path()))
      found.insert(entry.path().filename().string());
    EXPECT_EQ(found, names);
  }

  // The stored bytes of a tensor of the export.
  static std::string bytes(const Checkpoint& exported, const std::string& name) {
    const auto& entry = exported.at(name);
    return read_file(entry.file).substr(entry.offset, entry.bytes);
  }

  void expect_right_tensors(const Checkpoint& exported) {
    const auto edited = overlay();
    for (const auto& tensor : model_.tensors()) {
      auto expected = tensor.bytes;
      if (tensor.name == embedding_name)
        for (int i = 0; i < 2; ++i)
          encode(model_.config().stored_type, {edited.rows.const_data_ptr<float>() + 8 * i, 8},
                 std::as_writable_bytes(std::span(expected)).subspan(16 * edited.ids[i], 16));
      EXPECT_EQ(bytes(exported, tensor.name), expected) << tensor.name;
      EXPECT_EQ(exported.at(tensor.name).shape, tensor.shape);
      EXPECT_EQ(exported.at(tensor.name).dtype, tensor.dtype);
    }
  }

  ModelDirectory model_;
  ScratchDirectory target_;
};

TEST_F(ExportTest, KeepsEveryTensorButTheEditedRows) {
  run();
  const auto exported = Checkpoint::open(out());
  expect_right_tensors(exported);
  EXPECT_EQ(exported.entries().size(), model_.tensors().size() + 1);
  // The head stays the base's embedding.
  EXPECT_EQ(bytes(exported, lm_head_name), model_.bytes(embedding_name));
  EXPECT_NE(bytes(exported, embedding_name), model_.bytes(embedding_name));
  expect_only({"erased"});
}

TEST_F(ExportTest, ChangesTheConfigurationAsLittleAsPossible) {
  run();
  const auto before = json::parse(read_file(model_.path() / "config.json"));
  auto after = json::parse(read_file(out() / "config.json"));
  EXPECT_EQ(after.at("tie_word_embeddings"), false);
  EXPECT_FALSE(after.contains("quantization_config"));
  after["tie_word_embeddings"] = true;
  after["quantization_config"] = before.at("quantization_config");
  EXPECT_EQ(after, before);
  const auto config = read_config(out());
  EXPECT_FALSE(config.tied);
  EXPECT_NO_THROW(check_tensors(config, Checkpoint::open(out())));
}

TEST_F(ExportTest, CopiesWhatBelongsToTheModel) {
  write_file(model_.path() / "tokenizer.json", "{\"t\": 1}");
  write_file(model_.path() / "LICENSE", "free");
  write_file(model_.path() / "modeling_evil.py", "boo");
  write_file(model_.path() / "pytorch_model.bin", "boo");
  fs::create_directory(model_.path() / "additional_chat_templates");
  write_file(model_.path() / "additional_chat_templates/tool.jinja", "{{ x }}");
  run();
  EXPECT_EQ(read_file(out() / "tokenizer.json"), "{\"t\": 1}");
  EXPECT_EQ(read_file(out() / "LICENSE"), "free");
  EXPECT_EQ(read_file(out() / "additional_chat_templates/tool.jinja"), "{{ x }}");
  EXPECT_FALSE(fs::exists(out() / "modeling_evil.py"));
  EXPECT_FALSE(fs::exists(out() / "pytorch_model.bin"));
  const auto said = json::parse(read_file(out() / "quench.json"));
  EXPECT_EQ(said.at("concepts"), json({"Golf"}));
  EXPECT_EQ(said.at("strength"), 0.5);
}

TEST_F(ExportTest, FilesAreAsTheReferenceWritesThem) {
  run();
  const auto file = read_file(out() / "model.safetensors");
  std::uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof length);
  EXPECT_EQ(length % 8, 0U);
  EXPECT_EQ(json::parse(file.substr(8, length)).at("__metadata__").at("format"), "pt");
  EXPECT_NE(fs::status(out()).permissions() & fs::perms::group_read, fs::perms::none);
}

TEST_F(ExportTest, AHeadThatATiedModelCarriesIsNotTheHead) {
  auto tensors = model_.tensors();
  model_.tensors().push_back(
      {lm_head_name, "BF16", {11, 8}, std::string(static_cast<std::size_t>(11 * 8 * 2), 'x')});
  model_.write();
  run();
  EXPECT_EQ(bytes(Checkpoint::open(out()), lm_head_name), model_.bytes(embedding_name));
}

TEST_F(ExportTest, CarriesAlongTensorsThatItDoesNotKnow) {
  model_.tensors().push_back({"model.rotary.inv_freq", "F64", {2}, "0123456789abcdef"});
  model_.tensors().push_back({"odd", "U8", {3}, "abc"});
  model_.write();
  run();
  expect_right_tensors(Checkpoint::open(out()));
}

TEST_F(ExportTest, WritesShardsWithAnIndex) {
  run(false, 300);
  const auto exported = Checkpoint::open(out());
  expect_right_tensors(exported);
  EXPECT_FALSE(fs::exists(out() / "model.safetensors"));
  const auto index = json::parse(read_file(out() / "model.safetensors.index.json"));
  std::int64_t total = 0;
  std::set<std::string> files;
  for (const auto& [name, entry] : exported.entries()) {
    total += entry.bytes;
    files.insert(entry.file.filename().string());
    EXPECT_EQ(index.at("weight_map").at(name), entry.file.filename().string());
  }
  EXPECT_EQ(index.at("metadata").at("total_size"), total);
  EXPECT_GT(files.size(), 3U);
  EXPECT_EQ(index.at("weight_map").size(), exported.entries().size());
  const auto count = std::to_string(files.size());
  EXPECT_TRUE(files.contains("model-00001-of-" + std::string(5 - count.size(), '0') + count +
                             ".safetensors"));
  // What it wrote it exports again, to the same bytes.
  const auto again = target_ / "again";
  export_model(out(), read_config(out()), exported, {}, again, provenance);
  const auto copy = Checkpoint::open(again);
  for (const auto& [name, entry] : exported.entries())
    EXPECT_EQ(bytes(copy, name), bytes(exported, name)) << name;
}

class UntiedExportTest : public ExportTest {
 protected:
  UntiedExportTest() : ExportTest(testing::llama_json(false)) {}
};

TEST_F(UntiedExportTest, TheHeadIsItsOwn) {
  run();
  const auto exported = Checkpoint::open(out());
  expect_right_tensors(exported);
  EXPECT_EQ(exported.entries().size(), model_.tensors().size());
}

TEST_F(ExportTest, NeverOverwritesWhatIsNotItsOwn) {
  fs::create_directory(out());
  run();  // an empty folder is fine
  EXPECT_THROW(run(), DataError);
  write_file(out() / "stale", "");
  run(true);
  EXPECT_FALSE(fs::exists(out() / "stale"));
  expect_right_tensors(Checkpoint::open(out()));

  write_file(out() / "quench.json", "{}");
  EXPECT_THROW(run(true), DataError);
  fs::remove_all(out());
  write_file(out(), "a file");
  EXPECT_THROW(run(true), DataError);
  EXPECT_EQ(read_file(out()), "a file");
  expect_only({"erased"});
}

TEST_F(ExportTest, NeverOverwritesItsSource) {
  write_file(model_.path() / "quench.json", R"({"quench_export": 1})");
  const auto before = read_file(model_.path() / "model.safetensors");
  for (const auto& path :
       {model_.path(), model_.path() / "", model_.path().parent_path(), model_.path() / "x" / ".."})
    EXPECT_THROW(export_model(model_.path(), model_.config(), model_.checkpoint(), overlay(), path,
                              provenance, true),
                 DataError)
        << path;
  EXPECT_EQ(read_file(model_.path() / "model.safetensors"), before);
}

TEST_F(ExportTest, ABareNameIsAFolderHere) {
  const auto before = fs::current_path();
  fs::current_path(target_.path());
  for (const auto* name : {"erased", "beside/"})
    EXPECT_NO_THROW(export_model(model_.path(), model_.config(), model_.checkpoint(), overlay(),
                                 name, provenance))
        << name;
  fs::current_path(before);
  expect_only({"erased", "beside"});
}

TEST_F(ExportTest, TheTargetIsCheckedWithoutWriting) {
  EXPECT_EQ(check_export_target(model_.path(), out() / "", false), fs::weakly_canonical(out()));
  EXPECT_THROW(check_export_target(model_.path(), model_.path(), true), DataError);
  write_file(out(), "a file");
  EXPECT_THROW(check_export_target(model_.path(), out(), true), DataError);
  EXPECT_THROW(check_export_target(model_.path(), out() / "below", true), DataError);
  expect_only({"erased"});
}

TEST_F(ExportTest, AFullDiskLeavesNothingBehind) {
  run();
  const auto before = read_file(out() / "model.safetensors");
  {
    const quench::testing::FileSizeLimit limit(2000);
    try {
      run(true);
      ADD_FAILURE() << "written all the same";
    } catch (const DataError& error) {
      EXPECT_NE(std::string(error.what()).find("model.safetensors"), std::string::npos)
          << error.what();
    }
  }
  EXPECT_EQ(read_file(out() / "model.safetensors"), before);  // the older export is whole
  expect_only({"erased"});
}

// A process that ran on this machine and runs no more.
::pid_t dead_process() {
  const auto pid = ::fork();
  if (pid == 0) ::_exit(0);
  ::waitpid(pid, nullptr, 0);
  return pid;
}

TEST_F(ExportTest, RemovesWhatKilledExportsLeft) {
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  const auto left_by = [&](const std::string& maker) {
    auto name = ".erased.partial-" + maker;
    fs::create_directory(target_ / name);
    write_file(target_ / name / "model.safetensors", "half");
    return name;
  };
  const auto here = [&](::pid_t pid) {
    return std::string(host.data()) + "-" + std::to_string(pid);
  };
  const auto dead = dead_process();
  left_by(here(dead));
  left_by(here(::getpid()));  // of an earlier process with this one's number
  const auto replaced = left_by(here(dead) + "-old");
  const auto alive = left_by(here(::getppid()));
  const auto elsewhere = left_by("some-other-host-7");
  const auto long_ago = left_by("some-other-host-8");
  for (const auto& path : {target_ / long_ago / "model.safetensors", target_ / long_ago})
    fs::last_write_time(path, fs::file_time_type::clock::now() - std::chrono::hours(25));

  run();
  expect_only({"erased", replaced, alive, elsewhere});
  run(true);
  expect_only({"erased", alive, elsewhere});
}

TEST_F(ExportTest, RefusesWhatDoesNotFit) {
  auto config = model_.config();
  config.width = 9;
  EXPECT_THROW(export_model(model_.path(), config, model_.checkpoint(), {}, out(), provenance),
               DataError);
  auto rows = overlay();
  rows.ids.back() = 11;
  EXPECT_THROW(
      export_model(model_.path(), model_.config(), model_.checkpoint(), rows, out(), provenance),
      InternalError);
  EXPECT_THROW(export_model(model_.path(), model_.config(), model_.checkpoint(), {}, out(), "[1]"),
               InternalError);
  expect_only({});
}

}  // namespace
}  // namespace quench::model
