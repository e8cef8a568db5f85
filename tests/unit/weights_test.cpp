#include "model/weights.hpp"

#include <gtest/gtest.h>

#include <array>
#include <limits>
#include <map>

#include "cluster/collectives.hpp"
#include "cluster/error.hpp"
#include "tests/unit/model_directory.hpp"

namespace quench::model {
namespace {

using cluster::Communicator;
using testing::ModelDirectory;
using testing::read_tensor;

std::vector<float> values_of(const at::Tensor& tensor) {
  const auto flat = tensor.contiguous();
  return {flat.const_data_ptr<float>(), flat.const_data_ptr<float>() + flat.numel()};
}

void expect_equal_to_checkpoint(Weights& weights, const ModelDirectory& model) {
  std::map<std::string, at::Tensor> visited;
  std::string first;
  weights.for_each([&](const std::string& name, at::Tensor& tensor) {
    if (visited.empty()) first = name;
    EXPECT_TRUE(visited.emplace(name, tensor).second) << name << " twice";
  });
  EXPECT_EQ(first, embedding_name);
  const auto expected = expected_tensors(model.config());
  EXPECT_EQ(visited.size(), expected.size() + (model.config().tied ? 1 : 0));
  const auto checkpoint = model.checkpoint();
  for (const auto& [name, shape] : expected) {
    ASSERT_TRUE(visited.contains(name)) << name;
    EXPECT_EQ(visited.at(name).sizes().vec(), shape) << name;
    EXPECT_EQ(values_of(visited.at(name)), read_tensor(checkpoint, name)) << name;
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(visited.at(name).const_data_ptr()) % 64, 0U) << name;
  }
}

TEST(Weights, HoldWhatTheCheckpointHolds) {
  for (const auto& json :
       {testing::llama_json(true), testing::llama_json(false), testing::gemma3_json()}) {
    const ModelDirectory model(json);
    const auto self = cluster::make_self_communicator();
    auto shared = load_weights(*self, model.config(), model.checkpoint());
    expect_equal_to_checkpoint(shared.weights, model);
    EXPECT_EQ(shared.weights.lm_head.is_same(shared.weights.embedding), model.config().tied);
  }
}

TEST(Weights, NormsAreNamedByWhatTheyDo) {
  const auto self = cluster::make_self_communicator();
  const ModelDirectory llama(testing::llama_json(false)), gemma(testing::gemma3_json());
  const auto plain = load_weights(*self, llama.config(), llama.checkpoint());
  const auto sandwich = load_weights(*self, gemma.config(), gemma.checkpoint());
  const auto& a = plain.weights.layers[1];
  EXPECT_FALSE(a.post_attention_norm.defined());
  EXPECT_EQ(values_of(a.pre_mlp_norm),
            read_tensor(llama.checkpoint(), "model.layers.1.post_attention_layernorm.weight"));
  const auto& b = sandwich.weights.layers[1];
  EXPECT_EQ(values_of(b.post_attention_norm),
            read_tensor(gemma.checkpoint(), "model.layers.1.post_attention_layernorm.weight"));
  EXPECT_EQ(values_of(b.pre_mlp_norm),
            read_tensor(gemma.checkpoint(), "model.layers.1.pre_feedforward_layernorm.weight"));
}

TEST(Weights, RanksOfANodeShareOneWindow) {
  const ModelDirectory model(testing::llama_json(true));
  std::array<const void*, 3> windows{};
  std::array<float, 3> seen{};
  cluster::run_on_threads(3, [&](Communicator& node) {
    auto shared = load_weights(node, model.config(), model.checkpoint());
    expect_equal_to_checkpoint(shared.weights, model);
    windows[node.rank()] = shared.weights.embedding.const_data_ptr();
    node.barrier();
    if (node.rank() == 1) shared.weights.embedding.mutable_data_ptr<float>()[3] = 42;
    node.barrier();
    seen[node.rank()] = shared.weights.embedding.const_data_ptr<float>()[3];
  });
  EXPECT_EQ(windows[0], windows[1]);
  EXPECT_EQ(windows[0], windows[2]);
  EXPECT_EQ(seen, (std::array<float, 3>{42, 42, 42}));
}

TEST(Weights, AllRanksThrowTogether) {
  ModelDirectory model(testing::llama_json(true));
  const auto checkpoint = model.checkpoint();
  std::filesystem::resize_file(model.path() / "model.safetensors", 4000);  // only rank 0 reads it
  std::array<std::string, 3> messages;
  cluster::run_on_threads(3, [&](Communicator& node) {
    try {
      load_weights(node, model.config(), checkpoint);
    } catch (const Error& error) {
      messages[node.rank()] = error.what();
      EXPECT_EQ(error.code(), ExitCode::usage);
    }
    node.barrier();
  });
  for (const auto& message : messages) {
    EXPECT_NE(message.find("cut off"), std::string::npos) << message;
    EXPECT_EQ(message, messages[0]);
  }
}

TEST(Weights, NumbersThatAreNotFiniteAreRefused) {
  const std::string name = "model.layers.1.mlp.up_proj.weight";
  const std::map<std::string, std::string> bad{
      {std::string("\xc0\xff", 2), "NaN"}, {std::string("\x80\x7f", 2), "infinite"}};  // bfloat16
  for (const auto& [bytes, what] : bad) {
    ModelDirectory model(testing::llama_json(true));
    for (auto& tensor : model.tensors())
      if (tensor.name == name) tensor.bytes.replace(2 * 5, 2, bytes);
    model.write();
    const auto self = cluster::make_self_communicator();
    try {
      load_weights(*self, model.config(), model.checkpoint());
      ADD_FAILURE() << "loaded all the same";
    } catch (const DataError& error) {
      const std::string text = error.what();
      for (const auto& part : {std::string("model.safetensors"), name + ": number 5", what})
        EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
    }
  }
}

TEST(Weights, AConfigurationThatDoesNotFitIsRefused) {
  const ModelDirectory model(testing::llama_json(true));
  auto config = model.config();
  config.mlp_width = 13;
  const auto self = cluster::make_self_communicator();
  EXPECT_THROW(load_weights(*self, config, model.checkpoint()), DataError);
}

class OverlayTest : public ::testing::Test {
 protected:
  at::Tensor embedding_ = at::arange(12, at::kFloat).reshape({4, 3}) + 0.125;
  RowDeltas deltas_{3, {1, 3}, {1, 1.0F / 3, -2, 0, 0.25F, 1000}};
};

TEST_F(OverlayTest, SubtractsInFloat32AndRoundsOnce) {
  for (const auto& [ours, torch] :
       {std::pair(StoredType::bf16, at::kBFloat16), std::pair(StoredType::f16, at::kHalf),
        std::pair(StoredType::f32, at::kFloat)}) {
    const auto overlay = make_overlay(embedding_, ours, deltas_, 0.7);
    const auto rows = embedding_.index_select(0, at::tensor({1, 3}, at::kLong)) -
                      0.7F * at::tensor(deltas_.values, at::kFloat).reshape({2, 3});
    EXPECT_TRUE(at::equal(overlay.rows, rows.to(torch).to(at::kFloat)));
    EXPECT_EQ(overlay.ids, deltas_.ids);
    EXPECT_TRUE(at::equal(overlay.row_of_id, at::tensor({-1, 0, -1, 1}, at::kInt)));
  }
  EXPECT_EQ(embedding_[1][0].item<float>(), 3.125F);  // the base stays
}

TEST_F(OverlayTest, KnowsItsRows) {
  const auto overlay = make_overlay(embedding_, StoredType::bf16, deltas_, 1);
  for (const auto id : {-1, 0, 1, 2, 3, 4}) EXPECT_EQ(overlay.edits(id), id == 1 || id == 3);
  EXPECT_FALSE(overlay.empty());
  const auto none = make_overlay(embedding_, StoredType::bf16, {3, {}, {}}, 1);
  EXPECT_TRUE(none.empty());
  EXPECT_FALSE(none.edits(1));
  EXPECT_FALSE(RowOverlay().edits(0));
}

TEST_F(OverlayTest, RefusesWhatIsNotFinite) {
  EXPECT_THROW(make_overlay(embedding_, StoredType::f16, deltas_, 70), DataError);  // beyond 65504
  EXPECT_NO_THROW(make_overlay(embedding_, StoredType::bf16, deltas_, 70));
  deltas_.values[2] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THROW(make_overlay(embedding_, StoredType::bf16, deltas_, 1), DataError);
}

TEST_F(OverlayTest, RefusesDeltasThatDoNotFit) {
  const auto refused = [&](const RowDeltas& deltas) {
    EXPECT_THROW(make_overlay(embedding_, StoredType::f32, deltas, 1), InternalError);
  };
  refused({3, {3, 1}, deltas_.values});
  refused({3, {1, 1}, deltas_.values});
  refused({3, {1, 4}, deltas_.values});
  refused({3, {-1, 3}, deltas_.values});
  refused({3, {1}, deltas_.values});
  refused({2, {0, 1, 3}, deltas_.values});
}

}  // namespace
}  // namespace quench::model
