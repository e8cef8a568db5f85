#include "model/config.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "cluster/error.hpp"
#include "tests/support/safetensors_file.hpp"
#include "tests/support/scratch_directory.hpp"

namespace quench::model {
namespace {

using nlohmann::json;
using testing::ScratchDirectory;
using testing::write_file;

json llama() {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"vocab_size", 128256},
          {"hidden_size", 4096},
          {"intermediate_size", 14336},
          {"num_hidden_layers", 3},
          {"num_attention_heads", 32},
          {"num_key_value_heads", 8},
          {"max_position_embeddings", 131072},
          {"rms_norm_eps", 1e-5},
          {"rope_theta", 500000.0},
          {"rope_scaling",
           {{"rope_type", "llama3"},
            {"factor", 8.0},
            {"low_freq_factor", 1.0},
            {"high_freq_factor", 4.0},
            {"original_max_position_embeddings", 8192}}},
          {"torch_dtype", "bfloat16"},
          {"bos_token_id", 128000},
          {"eos_token_id", {128001, 128008}}};
}

json gemma(const std::string& architecture) {
  return {{"architectures", {architecture}},
          {"vocab_size", 256000},
          {"hidden_size", 2304},
          {"intermediate_size", 9216},
          {"num_hidden_layers", 7},
          {"num_attention_heads", 8},
          {"num_key_value_heads", 4},
          {"head_dim", 256},
          {"query_pre_attn_scalar", 144},
          {"sliding_window", 4096},
          {"eos_token_id", 1},
          {"bos_token_id", 2},
          {"pad_token_id", 0}};
}

json with(json object, const std::string& key, const json& value) {
  object[key] = value;
  return object;
}

ModelConfig read(const json& config, const json& generation = nullptr) {
  const ScratchDirectory dir;
  write_file(dir / "config.json", config.dump());
  if (!generation.is_null()) write_file(dir / "generation_config.json", generation.dump());
  return read_config(dir.path());
}

template <typename E>
std::string message_of(const json& config, const json& generation = nullptr) {
  try {
    read(config, generation);
  } catch (const E& error) {
    return error.what();
  }
  return "no error";
}

// The configuration is refused with a DataError that has this in it.
void expect_refused(const json& config, const std::string& text) {
  const auto message = message_of<DataError>(config);
  EXPECT_NE(message.find(text), std::string::npos) << message;
  EXPECT_NE(message.find("config.json"), std::string::npos) << message;
}

TEST(Config, ReadsLlama) {
  const auto config = read(llama());
  EXPECT_EQ(config.architecture, Architecture::llama);
  EXPECT_EQ(config.vocab, 128256);
  EXPECT_EQ(config.head_dim, 128);
  EXPECT_EQ(config.kv_heads, 8);
  EXPECT_EQ(config.norm_eps, 1e-5);
  EXPECT_EQ(config.rope.theta, 500000);
  EXPECT_EQ(config.rope.scaling, Rope::Scaling::llama3);
  EXPECT_EQ(config.rope.factor, 8);
  EXPECT_EQ(config.rope.original_max_position, 8192);
  EXPECT_EQ(config.activation, Activation::silu);
  EXPECT_EQ(config.embedding_scale, 1);
  EXPECT_DOUBLE_EQ(config.attention_scale, 1 / std::sqrt(128.0));
  EXPECT_EQ(config.sliding, std::vector<bool>(3, false));
  EXPECT_FALSE(config.tied);
  EXPECT_FALSE(config.norm_unit_offset);
  EXPECT_EQ(config.stored_type, StoredType::bf16);
  EXPECT_EQ(config.bos_id, 128000);
  EXPECT_FALSE(config.pad_id);
  EXPECT_EQ(config.stop_ids, (std::vector<std::int32_t>{128001, 128008}));
}

TEST(Config, ReadsTheNewerFormOfRope) {
  auto object = llama();
  object["rope_parameters"] = object["rope_scaling"];
  object["rope_parameters"]["rope_theta"] = 7e5;
  object.erase("rope_scaling");
  object.erase("rope_theta");
  object["dtype"] = "float16";
  object.erase("torch_dtype");
  const auto config = read(object);
  EXPECT_EQ(config.rope.theta, 7e5);
  EXPECT_EQ(config.rope.scaling, Rope::Scaling::llama3);
  EXPECT_EQ(config.stored_type, StoredType::f16);

  const auto linear = read(with(llama(), "rope_scaling", {{"type", "linear"}, {"factor", 2}}));
  EXPECT_EQ(linear.rope.scaling, Rope::Scaling::linear);
  EXPECT_EQ(linear.rope.factor, 2);
  EXPECT_EQ(read(with(llama(), "rope_scaling", nullptr)).rope.scaling, Rope::Scaling::none);
}

TEST(Config, ReadsGemma2) {
  const auto config = read(gemma("Gemma2ForCausalLM"));
  EXPECT_EQ(config.architecture, Architecture::gemma2);
  EXPECT_EQ(config.embedding_scale, 48);
  EXPECT_DOUBLE_EQ(config.attention_scale, 1.0 / 12);
  EXPECT_EQ(config.attention_softcap, 50);
  EXPECT_EQ(config.logit_softcap, 30);
  EXPECT_EQ(config.activation, Activation::gelu_tanh);
  EXPECT_TRUE(config.norm_unit_offset && config.sandwich_norms && config.tied);
  EXPECT_FALSE(config.qk_norm);
  EXPECT_EQ(config.sliding, (std::vector<bool>{true, false, true, false, true, false, true}));
  EXPECT_EQ(config.sliding_window, 4096);
  EXPECT_EQ(
      read(with(gemma("Gemma2ForCausalLM"), "attn_logit_softcapping", nullptr)).attention_softcap,
      0);
}

TEST(Config, ReadsGemma3) {
  auto object = with(gemma("Gemma3ForCausalLM"), "hidden_size", 640);
  object["rope_local_base_freq"] = 1234;
  object["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 8}};
  const auto config = read(object);
  EXPECT_TRUE(config.qk_norm);
  // What transformers 5 multiplies a float32 model's embeddings by.
  EXPECT_EQ(config.embedding_scale, static_cast<double>(std::sqrt(640.0F)));
  EXPECT_EQ(config.sliding, (std::vector<bool>{true, true, true, true, true, false, true}));
  EXPECT_EQ(config.logit_softcap, 0);
  EXPECT_EQ(config.attention_softcap, 0);
  EXPECT_EQ(config.rope.theta, 1e6);
  EXPECT_EQ(config.rope.scaling, Rope::Scaling::linear);
  EXPECT_EQ(config.rope_sliding.theta, 1234);
  EXPECT_EQ(config.rope_sliding.scaling, Rope::Scaling::none);

  const json nested = {
      {"full_attention", {{"rope_type", "linear"}, {"rope_theta", 5e5}, {"factor", 4}}},
      {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", 2e4}}}};
  const auto newer = read(with(gemma("Gemma3ForCausalLM"), "rope_parameters", nested));
  EXPECT_EQ(newer.rope.theta, 5e5);
  EXPECT_EQ(newer.rope.factor, 4);
  EXPECT_EQ(newer.rope_sliding.theta, 2e4);
  EXPECT_EQ(newer.rope_sliding.scaling, Rope::Scaling::none);
}

TEST(Config, LayerTypesGoBeforeThePattern) {
  const json types = {"full_attention", "full_attention", "sliding_attention", "full_attention",
                      "full_attention", "full_attention", "full_attention"};
  EXPECT_EQ(read(with(gemma("Gemma3ForCausalLM"), "layer_types", types)).sliding,
            (std::vector<bool>{false, false, true, false, false, false, false}));
  expect_refused(with(gemma("Gemma2ForCausalLM"), "layer_types", {"full_attention"}), "7 layers");
  auto wrong = types;
  wrong[4] = "chunked_attention";
  expect_refused(with(gemma("Gemma2ForCausalLM"), "layer_types", wrong), "layer_types[4]");
}

TEST(Config, StopIdsOfTheGenerationConfigGoFirst) {
  using Ids = std::vector<std::int32_t>;
  const auto config = read(gemma("Gemma3ForCausalLM"), {{"eos_token_id", {106, 1}}});
  EXPECT_EQ(config.stop_ids, (Ids{1, 106}));
  EXPECT_EQ(config.pad_id, 0);
  const auto two = with(gemma("Gemma3ForCausalLM"), "eos_token_id", {5, 7});
  EXPECT_EQ(read(two, {{"eos_token_id", 106}}).stop_ids, Ids{106});
  EXPECT_EQ(read(two).stop_ids, (Ids{5, 7}));  // without such a file
  EXPECT_EQ(read(two, {{"eos_token_id", nullptr}}).stop_ids, Ids{});
  const auto message = message_of<DataError>(llama(), {{"eos_token_id", {1, "x"}}});
  EXPECT_NE(message.find("generation_config.json: eos_token_id"), std::string::npos) << message;
}

// transformers 5 gives config.json's own field priority over that of the object.
TEST(Config, TheOriginalLengthOfTheTopGoesFirst) {
  const json scaling = {{"rope_type", "llama3"},
                        {"factor", 8},
                        {"low_freq_factor", 1},
                        {"high_freq_factor", 4},
                        {"original_max_position_embeddings", 4096}};
  auto object = with(llama(), "rope_scaling", scaling);
  EXPECT_EQ(read(object).rope.original_max_position, 4096);
  object["original_max_position_embeddings"] = 2048;
  EXPECT_EQ(read(object).rope.original_max_position, 2048);
}

TEST(Config, RopeScalingOfGemma3GoesBeforeItsRopeParameters) {
  auto object = with(gemma("Gemma3ForCausalLM"), "rope_parameters",
                     {{"full_attention", {{"rope_type", "default"}, {"rope_theta", 5e5}}},
                      {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", 2e4}}}});
  EXPECT_EQ(read(object).rope.factor, 1);
  object["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 8}};
  const auto config = read(object);
  EXPECT_EQ(config.rope.scaling, Rope::Scaling::linear);
  EXPECT_EQ(config.rope.factor, 8);
  EXPECT_EQ(config.rope.theta, 5e5);
  EXPECT_EQ(config.rope_sliding.scaling, Rope::Scaling::none);
  EXPECT_EQ(config.rope_sliding.theta, 2e4);
}

TEST(Config, OldFilesSayMinusOneForNoToken) {
  EXPECT_FALSE(read(with(llama(), "pad_token_id", -1)).pad_id);
}

TEST(Config, UnsupportedArchitecturesAreUsageErrorsWithTheList) {
  for (const json& object : {with(llama(), "architectures", {"MambaForCausalLM"}),
                             with(llama(), "architectures", json::array()), json::object()}) {
    const auto message = message_of<ConfigError>(object);
    for (const auto* name : {"LlamaForCausalLM", "Gemma2ForCausalLM", "Gemma3ForCausalLM"})
      EXPECT_NE(message.find(name), std::string::npos) << message;
  }
  const json vision = {{"architectures", {"Gemma3ForConditionalGeneration"}},
                       {"text_config", json::object()}};
  EXPECT_NE(message_of<ConfigError>(vision).find("language model alone"), std::string::npos);
}

TEST(Config, EveryProblemIsToldAtOnce) {
  auto object = llama();
  object["vocab_size"] = "many";
  object["num_key_value_heads"] = 5;
  object["rms_norm_eps"] = -1;
  object.erase("hidden_size");
  const auto message = message_of<DataError>(object);
  for (const auto* field : {"vocab_size", "num_key_value_heads", "rms_norm_eps", "hidden_size"})
    EXPECT_NE(message.find(field), std::string::npos) << message;
}

TEST(Config, RefusesWhatItCannotDo) {
  expect_refused(with(llama(), "mlp_bias", true), "mlp_bias");
  expect_refused(with(llama(), "attention_dropout", 0.1), "attention_dropout");
  expect_refused(with(llama(), "hidden_act", "relu"), "hidden_act");
  expect_refused(with(llama(), "torch_dtype", "float64"), "torch_dtype");
  expect_refused(with(llama(), "partial_rotary_factor", 0.5), "partial_rotary_factor");
  expect_refused(with(llama(), "rope_scaling", {{"rope_type", "yarn"}, {"factor", 2}}),
                 "rope_scaling.rope_type");
  expect_refused(with(llama(), "rope_scaling", {{"rope_type", "linear"}}), "rope_scaling.factor");
  expect_refused(with(gemma("Gemma3ForCausalLM"), "use_bidirectional_attention", true),
                 "use_bidirectional_attention");
  expect_refused(with(gemma("Gemma2ForCausalLM"), "sliding_window", nullptr), "sliding_window");
}

TEST(Config, RefusesNumbersOutOfRange) {
  for (const json& value : {json(0), json(-4), json(1.5), json("8"), json(1e300), json::array(),
                            json(18446744073709551615U)}) {
    for (const auto* key :
         {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads"})
      expect_refused(with(llama(), key, value), key);
    expect_refused(with(llama(), "head_dim", value), "head_dim");
  }
  expect_refused(with(llama(), "head_dim", 63), "an even number");
  expect_refused(with(llama(), "bos_token_id", 128256), "bos_token_id");
  expect_refused(with(llama(), "rope_theta", 0), "rope_theta");
  expect_refused(with(llama(), "tie_word_embeddings", 1), "tie_word_embeddings");
}

TEST(Config, RefusesWhatIsNoJsonObject) {
  const ScratchDirectory dir;
  const auto refused = [&](const std::string& text, const std::string& expected) {
    write_file(dir / "config.json", text);
    try {
      read_config(dir.path());
      ADD_FAILURE() << "accepted";
    } catch (const DataError& error) {
      EXPECT_NE(std::string(error.what()).find(expected), std::string::npos) << error.what();
    }
  };
  refused("{\"vocab_size\": ", "not JSON at byte");
  refused("[1]", "not a JSON object");
  refused("", "not JSON");
  refused("{\"rms_norm_eps\": 1e999}", "1e999");
  refused("{\"a\":" + std::string(500'000, '['), "too deeply");
  refused(std::string(2 << 20, ' '), "at most");
  std::filesystem::remove(dir / "config.json");
  EXPECT_THROW(read_config(dir.path()), DataError);
  std::filesystem::create_directory(dir / "config.json");
  EXPECT_THROW(read_config(dir.path()), DataError);
}

}  // namespace
}  // namespace quench::model
