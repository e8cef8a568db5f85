#include "model/checkpoint.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <nlohmann/json.hpp>

#include "cluster/error.hpp"
#include "model/safetensors.hpp"
#include "tests/support/safetensors_file.hpp"
#include "tests/support/scratch_directory.hpp"

namespace quench::model {
namespace {

using testing::raw_safetensors;
using testing::safetensors_of;
using testing::ScratchDirectory;
using testing::StoredTensor;
using testing::write_file;

const std::string eight(8, '\0');

class CheckpointTest : public ::testing::Test {
 protected:
  void expect_refused(const std::string& text) {
    try {
      Checkpoint::open(dir_.path());
      ADD_FAILURE() << "accepted, expected: " << text;
    } catch (const DataError& error) {
      EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find(dir_.path().string()), std::string::npos);
    }
  }
  // A model.safetensors of these bytes is refused with a message that has `text` in it.
  void expect_file_refused(const std::string& bytes, const std::string& text) {
    write_file(dir_ / "model.safetensors", bytes);
    expect_refused(text);
  }
  void expect_header_refused(const std::string& header, const std::string& data,
                             const std::string& text) {
    expect_file_refused(raw_safetensors(header, data), text);
  }
  void write_index(const nlohmann::json& weight_map) {
    write_file(dir_ / "model.safetensors.index.json",
               nlohmann::json({{"weight_map", weight_map}}).dump());
  }
  ScratchDirectory dir_;
};

TEST_F(CheckpointTest, ReadsTensorsOfEveryType) {
  const std::vector<float> f32 = {1.5F, -2.25F};
  const std::vector<std::uint16_t> f16 = {0x3c00, 0xc000, 0x0001}, bf16 = {0x3f80, 0xc000};
  const auto bytes = [](const auto& values) {
    return std::string(reinterpret_cast<const char*>(values.data()),
                       values.size() * sizeof(values[0]));
  };
  write_file(dir_ / "model.safetensors", safetensors_of({{"a", "F32", {2, 1}, bytes(f32)},
                                                         {"b", "F16", {3}, bytes(f16)},
                                                         {"c", "BF16", {2}, bytes(bf16)},
                                                         {"empty", "F32", {0, 7}, ""},
                                                         {"scalar", "I64", {}, eight}}));
  const auto checkpoint = Checkpoint::open(dir_.path());
  ASSERT_EQ(checkpoint.entries().size(), 5U);
  EXPECT_EQ(checkpoint.at("a").shape, (std::vector<std::int64_t>{2, 1}));
  EXPECT_EQ(checkpoint.at("empty").count(), 0);

  std::vector<float> two(2), three(3), none;
  checkpoint.read("a", two);
  EXPECT_EQ(two, f32);
  checkpoint.read("b", three);
  EXPECT_EQ(three, (std::vector<float>{1, -2, 0x1p-24F}));
  checkpoint.read_part("b", 1, two);
  EXPECT_EQ(two, (std::vector<float>{-2, 0x1p-24F}));
  checkpoint.read("c", two);
  EXPECT_EQ(two, (std::vector<float>{1, -2}));
  checkpoint.read("empty", none);

  std::vector<float> one(1);
  EXPECT_THROW(checkpoint.read("scalar", one), DataError);  // carried along, not read
  EXPECT_THROW(checkpoint.read("a", one), InternalError);
  EXPECT_THROW(checkpoint.read_part("a", 2, one), InternalError);
  EXPECT_THROW(checkpoint.at("d"), DataError);
}

TEST_F(CheckpointTest, ATensorLargerThanABlockIsReadWhole) {
  const std::int64_t count = (1 << 20) + 5;
  std::vector<float> values(count);
  for (std::int64_t i = 0; i < count; ++i) values[i] = static_cast<float>(i);
  write_file(
      dir_ / "model.safetensors",
      safetensors_of({{"a",
                       "F32",
                       {count},
                       std::string(reinterpret_cast<const char*>(values.data()), 4 * count)}}));
  std::vector<float> read(count);
  Checkpoint::open(dir_.path()).read("a", read);
  EXPECT_EQ(read, values);
}

TEST_F(CheckpointTest, RefusesBadLengths) {
  expect_file_refused("", "no safetensors file");
  expect_file_refused("1234567", "no safetensors file");
  expect_file_refused(raw_safetensors(1000, "{}", ""), "goes beyond the file");
  expect_file_refused(raw_safetensors(3, "{}", ""), "goes beyond the file");
  expect_file_refused(raw_safetensors(100'000'001, "{}", ""), "exceeds 100000000");
  expect_file_refused(raw_safetensors(static_cast<std::uint64_t>(-1), "{}", ""), "exceeds");
  expect_file_refused(raw_safetensors(std::uint64_t{1} << 63, "{}", ""), "exceeds");
}

TEST_F(CheckpointTest, RefusesWhatIsNoHeader) {
  expect_header_refused("", "", "not JSON");
  expect_header_refused("{\"a\":", "", "not JSON at byte");
  expect_header_refused("{} {}", "", "not JSON");
  expect_header_refused(R"({"a": {"dtype": "F32", "shape": [1e999]}})", "", "a cannot be read");
  expect_header_refused("{\"\xff\":1}", "", "not JSON");
  expect_header_refused("[]", "", "not expected");
  expect_header_refused("3", "", "not a JSON object");
  expect_header_refused("{\"a\":3}", "", "a: an object is expected");
  expect_header_refused("{\"a\":[1]}", "", "a: a list is not expected");
  expect_header_refused("{\"a\":{\"dtype\":{}}}", "", "too deeply");
  expect_header_refused("{\"a\":" + std::string(1'000'000, '['), "", "a: ");
  expect_header_refused("{\"a\":{\"shape\":[[]]}}", "", "not expected");
  std::string list = "{\"a\":{\"shape\":[1";
  for (int i = 0; i < 64; ++i) list += ",1";
  expect_header_refused(list + "]}}", "", "too long");
  expect_header_refused(R"({"__metadata__":{"format":1}})", "", "__metadata__");
}

TEST_F(CheckpointTest, RefusesAKeyTwice) {
  const std::string first = R"("a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]})";
  const std::string second = R"("a":{"dtype":"U8","shape":[4],"data_offsets":[4,8]})";
  expect_header_refused("{" + first + "," + second + "}", eight, "a is in the header twice");
  expect_header_refused(R"({"a":{"dtype":"U8","dtype":"U8","shape":[8],"data_offsets":[0,8]}})",
                        eight, "the key dtype twice");
  expect_header_refused(R"({"__metadata__":{},"__metadata__":{}})", "", "twice");
}

TEST_F(CheckpointTest, RefusesBadFields) {
  const auto expect = [&](const std::string& fields, const std::string& text) {
    expect_header_refused("{\"t\":{" + fields + "}}", eight, text);
  };
  expect(R"("shape":[2],"data_offsets":[0,8])", "t: dtype is missing");
  expect(R"("dtype":"F32","data_offsets":[0,8])", "t: shape is missing");
  expect(R"("dtype":"F32","shape":[2])", "t: data_offsets is missing");
  expect(R"("dtype":7,"shape":[2],"data_offsets":[0,8])", "dtype is not a text");
  expect(R"("dtype":"F33","shape":[2],"data_offsets":[0,8])", "unknown dtype F33");
  expect(R"("dtype":"F32","shape":2,"data_offsets":[0,8])", "shape is not a list");
  expect(R"("dtype":"F32","shape":[2.0],"data_offsets":[0,8])", "not a whole number");
  expect(R"("dtype":"F32","shape":[-2],"data_offsets":[0,8])", "out of range");
  expect(R"("dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,8])", "out of range");
  expect(R"("dtype":"F32","shape":[2],"data_offsets":[0])", "two numbers");
  expect(R"("dtype":"F32","shape":[2],"data_offsets":[-8,0])", "out of range");
  expect(R"("dtype":"F32","shape":[2],"data_offsets":["0",8])", "not a whole number");
  expect(R"("dtype":"F32","shape":[2],"data_offsets":[8,0])", "reversed");
  expect(R"("dtype":"F32","shape":[4],"data_offsets":[0,16])", "the file has 8 bytes of data");
  expect(R"("dtype":"F32","shape":[3],"data_offsets":[0,8])", "need 12 bytes");
  expect(R"("dtype":"F4","shape":[3],"data_offsets":[0,1])", "whole bytes");
}

TEST_F(CheckpointTest, RefusesAShapeWhoseProductOverflows) {
  const auto expect = [&](const std::string& shape) {
    expect_header_refused(
        R"({"t":{"dtype":"F32","shape":[)" + shape + R"(],"data_offsets":[0,0]}})", "",
        "too large");
  };
  expect("4294967296,4294967296");    // 2^64: would wrap to 0
  expect("4611686018427387904,4");    // 2^62 x 4
  expect("9223372036854775807");      // its bytes overflow
  expect("0,4294967296,4294967296");  // empty, but no product can be formed
}

TEST_F(CheckpointTest, RefusesDataThatIsNotTiled) {
  const auto two = [](int a, int b, int c, int d) {
    const auto entry = [](const std::string& name, int begin, int end) {
      return "\"" + name + "\":{\"dtype\":\"U8\",\"shape\":[" + std::to_string(end - begin) +
             "],\"data_offsets\":[" + std::to_string(begin) + "," + std::to_string(end) + "]}";
    };
    return "{" + entry("a", a, b) + "," + entry("b", c, d) + "}";
  };
  write_file(dir_ / "model.safetensors", raw_safetensors(two(4, 8, 0, 4), eight));
  EXPECT_NO_THROW(Checkpoint::open(dir_.path()));  // any order
  expect_header_refused(two(0, 5, 4, 8), eight, "b overlaps");
  expect_header_refused(two(0, 8, 0, 8), eight, "overlaps");
  expect_header_refused(two(0, 3, 4, 8), eight, "b follows a hole");
  expect_header_refused(two(1, 4, 4, 8), eight, "a follows a hole");
  expect_header_refused(two(0, 3, 3, 7), eight, "1 bytes of data after the last tensor");
}

TEST_F(CheckpointTest, TellsWhenAFileWasCutOff) {
  const auto whole = safetensors_of({{"a", "F32", {2}, eight}});
  expect_file_refused(whole.substr(0, whole.size() - 1), "cut off");
  write_file(dir_ / "model.safetensors", whole);
  const auto checkpoint = Checkpoint::open(dir_.path());
  std::filesystem::resize_file(dir_ / "model.safetensors", whole.size() - 4);  // under our feet
  std::vector<float> out(2);
  EXPECT_THROW(checkpoint.read("a", out), DataError);
}

TEST_F(CheckpointTest, RefusesWhatIsNoRegularFile) {
  std::filesystem::create_directory(dir_ / "model.safetensors");
  expect_refused("model.safetensors");
  std::filesystem::remove(dir_ / "model.safetensors");
  ASSERT_EQ(mkfifo((dir_ / "model.safetensors").c_str(), 0600), 0);
  expect_refused("not a regular file");  // and does not wait for a writer
}

TEST_F(CheckpointTest, ReadsShards) {
  write_file(dir_ / "one.safetensors", safetensors_of({{"a", "F32", {2}, eight}}));
  write_file(dir_ / "two.safetensors", safetensors_of({{"b", "F16", {4}, eight}}));
  write_index({{"a", "one.safetensors"}, {"b", "two.safetensors"}});
  const auto checkpoint = Checkpoint::open(dir_.path());
  EXPECT_EQ(checkpoint.at("b").file, dir_ / "two.safetensors");
  std::vector<float> four(4, 1);
  checkpoint.read("b", four);
  EXPECT_EQ(four, std::vector<float>(4, 0));
}

TEST_F(CheckpointTest, RefusesAnIndexThatLeadsOutside) {
  for (const auto* name : {"../x.safetensors", "/etc/passwd", "a/b.safetensors", "..", ".", "",
                           "a\\b.safetensors", ".hidden"}) {
    write_index({{"a", name}});
    expect_refused("not the name of a file in this directory");
  }
  write_index({{"a", 3}});
  expect_refused("not the name of a file");
  write_index({{"a", std::string("one\0.safetensors", 16)}});
  expect_refused("not the name of a file");
}

TEST_F(CheckpointTest, RefusesABrokenIndex) {
  write_file(dir_ / "model.safetensors.index.json", "{}");
  expect_refused("weight_map");
  write_file(dir_ / "model.safetensors.index.json", "{\"weight_map\": ");
  expect_refused("not JSON");
  write_index(nlohmann::json::object());
  expect_refused("weight_map");
  write_index({{"a", "one.safetensors"}});
  expect_refused("one.safetensors: missing");
  write_file(dir_ / "one.safetensors", safetensors_of({{"b", "F32", {2}, eight}}));
  expect_refused("a is not in one.safetensors");
}

TEST_F(CheckpointTest, RefusesATensorInTwoShards) {
  write_file(dir_ / "one.safetensors", safetensors_of({{"a", "F32", {2}, eight}}));
  write_file(dir_ / "two.safetensors",
             safetensors_of({{"a", "F32", {2}, eight}, {"b", "F32", {2}, eight}}));
  write_index({{"a", "one.safetensors"}, {"b", "two.safetensors"}});
  expect_refused("a is in one.safetensors too");
}

TEST_F(CheckpointTest, SaysWhyPicklesAreNotRead) {
  expect_refused("neither model.safetensors nor");
  write_file(dir_ / "pytorch_model.bin", "x");
  expect_refused("pickle");
  expect_refused("save_pretrained");
  EXPECT_THROW(Checkpoint::open(dir_ / "nowhere"), DataError);
}

ModelConfig small_config() {
  ModelConfig config;
  config.vocab = 3;
  config.width = 4;
  config.layers = 1;
  config.heads = 2;
  config.kv_heads = 1;
  config.head_dim = 2;
  config.mlp_width = 5;
  config.attention_bias = true;
  return config;
}

std::vector<StoredTensor> tensors_of(const ModelConfig& config) {
  std::vector<StoredTensor> tensors;
  for (const auto& [name, shape] : expected_tensors(config)) {
    std::int64_t count = 4;
    for (const auto size : shape) count *= size;
    tensors.push_back({name, "F32", shape, std::string(count, '\0')});
  }
  return tensors;
}

TEST_F(CheckpointTest, KnowsTheTensorsOfAnArchitecture) {
  auto config = small_config();
  const auto llama = expected_tensors(config);
  EXPECT_EQ(llama.size(), 3U + 9U + 4U);
  EXPECT_EQ(llama.at("model.layers.0.self_attn.k_proj.weight"), (std::vector<std::int64_t>{2, 4}));
  EXPECT_EQ(llama.at("model.layers.0.self_attn.o_proj.bias"), (std::vector<std::int64_t>{4}));
  EXPECT_EQ(llama.at("model.layers.0.mlp.down_proj.weight"), (std::vector<std::int64_t>{4, 5}));
  config.sandwich_norms = config.qk_norm = config.tied = true;
  const auto gemma = expected_tensors(config);
  EXPECT_EQ(gemma.size(), llama.size() - 1 + 4);
  EXPECT_FALSE(gemma.contains("lm_head.weight"));
  EXPECT_EQ(gemma.at("model.layers.0.self_attn.q_norm.weight"), (std::vector<std::int64_t>{2}));
}

TEST_F(CheckpointTest, FindsTensorsThatNothingUses) {
  auto config = small_config();
  auto tensors = tensors_of(config);
  tensors.push_back({"model.layers.7.input_layernorm.weight", "I64", {1}, eight});
  tensors.push_back({"model.layers.7.self_attn.rotary_emb.inv_freq", "I64", {1}, eight});
  write_file(dir_ / "model.safetensors", safetensors_of(tensors));
  const auto unused = [&] { return unused_tensors(config, Checkpoint::open(dir_.path())); };
  const std::vector<std::string> expected{"model.layers.7.input_layernorm.weight"};
  EXPECT_EQ(unused(), expected);
  config.tied = true;  // the head is then the embedding
  EXPECT_EQ(unused(), expected);
}

TEST_F(CheckpointTest, FilesKnowTheTypeAndWhetherTheHeadIsTied) {
  const auto config = small_config();
  auto tensors = tensors_of(config);
  const auto settled = [&](bool tied) {
    write_file(dir_ / "model.safetensors", safetensors_of(tensors));
    auto copy = config;
    copy.tied = tied;
    copy.stored_type = StoredType::f16;
    settle(copy, Checkpoint::open(dir_.path()));
    EXPECT_EQ(copy.stored_type, StoredType::f32);
    return copy.tied;
  };
  EXPECT_FALSE(settled(false));
  EXPECT_TRUE(settled(true));  // both are zeros
  for (auto& tensor : tensors)
    if (tensor.name == lm_head_name) tensor.bytes.back() = 1;
  EXPECT_FALSE(settled(true));
  std::erase_if(tensors, [](const auto& tensor) { return tensor.name == lm_head_name; });
  EXPECT_TRUE(settled(true));
}

TEST_F(CheckpointTest, ChecksTensorsAgainstTheConfiguration) {
  const auto config = small_config();
  auto tensors = tensors_of(config);
  tensors.push_back({"model.layers.0.self_attn.rotary_emb.inv_freq", "I64", {1}, eight});
  write_file(dir_ / "model.safetensors", safetensors_of(tensors));
  EXPECT_NO_THROW(check_tensors(config, Checkpoint::open(dir_.path())));
  EXPECT_TRUE(unused_tensors(config, Checkpoint::open(dir_.path())).empty());

  std::erase_if(tensors, [](const auto& tensor) { return tensor.name == "model.norm.weight"; });
  for (auto& tensor : tensors) {
    if (tensor.name == "lm_head.weight") tensor.shape = {4, 3};
    if (tensor.name == "model.layers.0.mlp.up_proj.weight") tensor.dtype = "I32";
  }
  write_file(dir_ / "model.safetensors", safetensors_of(tensors));
  try {
    check_tensors(config, Checkpoint::open(dir_.path()));
    FAIL();
  } catch (const DataError& error) {
    const std::string text = error.what();
    EXPECT_EQ(text.find(dir_.path().string()), 0U) << text;
    for (const auto* part : {"model.norm.weight: missing", "lm_head.weight: has shape [4, 3]",
                             "[3, 4]", "up_proj.weight: dtype I32"})
      EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
  }
}

}  // namespace
}  // namespace quench::model
