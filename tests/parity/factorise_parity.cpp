// The factorisation of real embeddings against the reference's steps in float64: the first 50
// objectives to 1e-6, the same supports (QUENCH_LONG: the first 250). Skipped where the models are
// not there.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <numeric>

#include "model/checkpoint.hpp"
#include "model/config.hpp"
#include "stages/dictionary/factorise.hpp"
#include "tests/support/reference_factorisation.hpp"

namespace quench::dictionary {
namespace {

struct Case {
  const char* model;
  const char* form;
};

class RealEmbeddings : public ::testing::TestWithParam<Case> {};

// Every stride-th row of the model's embedding.
std::vector<float> some_rows(const std::filesystem::path& folder, std::int64_t rows,
                             const model::ModelConfig& config) {
  const auto checkpoint = model::Checkpoint::open(folder);
  std::vector<float> all(config.vocab * config.width);
  checkpoint.read("model.embed_tokens.weight", all);
  std::vector<float> out;
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* row = all.data() + r * (config.vocab / rows) * config.width;
    out.insert(out.end(), row, row + config.width);
  }
  return out;
}

TEST_P(RealEmbeddings, SameObjectivesAndSupports) {
  constexpr std::int64_t rows = 2000;
  const char* models = std::getenv("QUENCH_MODELS");
  const std::filesystem::path folder =
      std::filesystem::path(models ? models : "") / GetParam().model;
  if (!std::filesystem::exists(folder / "model.safetensors"))
    GTEST_SKIP() << "no model at " << folder << "; run tools/fetch_models.sh or set QUENCH_MODELS";
  const auto config = model::read_config(folder);
  const auto stored = some_rows(folder, rows, config);
  std::vector<std::int32_t> tokens(rows);
  std::iota(tokens.begin(), tokens.end(), 0);
  const double scale = config.embedding_scale;
  const Shard shard{Rows(stored, tokens, config.width, scale), 0, rows};
  Options options;
  options.form = GetParam().form;
  options.stop = "patience";
  options.tolerance = 0;
  options.max_iterations = std::getenv("QUENCH_LONG") ? 250 : 50;
  const auto initial = normal_initial(options, "parity");
  const auto self = cluster::make_self_communicator();
  const auto fit = factorise(shard, initial, options, *self);

  ReferenceFactorisation reference(stored, config.width, options, initial(0, rows));
  reference.a.mul_(scale);
  at::Tensor best;
  for (std::int64_t i = 0; i < options.max_iterations; ++i) {
    const double expected = reference.iterate();
    EXPECT_NEAR(fit.objective.at(i), expected, 1e-6 * expected) << "iteration " << i;
    if (i == fit.best_iteration) best = reference.g;
  }
  const auto kept = fit.factors.per_feature();
  std::int64_t different = 0;
  for (std::int64_t i = 0; i < std::ssize(fit.factors.rows); ++i)
    different += best[fit.factors.rows[i]][i / kept].item<double>() == 0 ? 1 : 0;
  EXPECT_EQ(different, 0) << "of " << fit.factors.rows.size() << " entries of the support";
}

INSTANTIATE_TEST_SUITE_P(Models, RealEmbeddings,
                         ::testing::Values(Case{"SmolLM2-135M-Instruct", "bounded"},
                                           Case{"SmolLM2-135M-Instruct", "streamed"},
                                           Case{"SmolLM2-135M-Instruct", "gram"},
                                           Case{"gemma-3-270m", "gram"},
                                           Case{"gemma-3-270m", "bounded"},
                                           Case{"gemma-3-270m", "streamed"}));

}  // namespace
}  // namespace quench::dictionary
