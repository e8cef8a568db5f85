#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "cluster/random.hpp"
#include "stages/dictionary/dictionary.hpp"
#include "tests/support/device_factorise_checks.hpp"
#include "tests/support/scratch_directory.hpp"

namespace quench::testing {
namespace {

class BatchOnGpu : public ::testing::TestWithParam<DeviceCheck> {};

TEST_P(BatchOnGpu, Holds) {
  const auto visible = cluster::visible_devices();
  if (visible.devices.empty()) GTEST_SKIP() << visible.problem;
  GetParam().run(at::Device(at::kCUDA, 0));
}

INSTANTIATE_TEST_SUITE_P(DeviceFactorise, BatchOnGpu,
                         ::testing::ValuesIn(device_factorise_checks()),
                         [](const auto& tested) { return tested.param.name; });

// Six concepts of 60 to 85 tokens.
dictionary::Inputs make_inputs(const std::vector<float>& embedding, std::int64_t width) {
  dictionary::Inputs inputs;
  inputs.concepts = 6;
  inputs.tokens = [](std::int64_t c) {
    std::vector<std::int32_t> ids(60 + 5 * c);
    std::iota(ids.begin(), ids.end(), static_cast<std::int32_t>(c));
    return ids;
  };
  inputs.concept_hash = [](std::int64_t c) { return std::to_string(c); };
  inputs.embedding = embedding;
  inputs.width = width;
  return inputs;
}

dictionary::Dictionaries run_stage(const std::string& device,
                                   const std::filesystem::path& directory,
                                   const dictionary::Inputs& inputs) {
  cluster::Session session(cluster::make_self_communicator(), {1, 1});
  session.use_device(device);
  cluster::StopFlag stop;
  cluster::Timers timers;
  cluster::Context context{session, stop, timers, directory, true};
  dictionary::Options options;
  options.rank = 5;
  options.density = 0.05;
  options.max_iterations = 20;
  return run(inputs, options, context);
}

TEST(StageOnGpu, GivesTheDictionariesOfTheCpu) {
  const auto visible = cluster::visible_devices();
  if (visible.devices.empty()) GTEST_SKIP() << visible.problem;
  constexpr std::int64_t width = 12;
  const cluster::KeyedRandom random(3, "stage_on_gpu");
  std::vector<float> embedding(120 * width);
  for (std::size_t i = 0; i < embedding.size(); ++i)
    embedding[i] = static_cast<float>(random.normal(static_cast<std::int64_t>(i)));
  const auto inputs = make_inputs(embedding, width);
  const ScratchDirectory on_gpu, on_cpu;
  const auto actual = run_stage("cuda", on_gpu.path(), inputs);
  const auto expected = run_stage("cpu", on_cpu.path(), inputs);
  const cluster::StoreReader file(on_gpu / "dictionary.h5", "dictionary", dictionary::schema);
  EXPECT_EQ(std::ranges::count(file.read_strings("dictionaries/form"), "batched"), 6);
  for (std::int64_t c = 0; c < inputs.concepts; ++c) {
    EXPECT_EQ(actual.factors(c).tokens, expected.factors(c).tokens);
    EXPECT_EQ(actual.factors(c).rows, expected.factors(c).rows);
  }
}

}  // namespace
}  // namespace quench::testing
