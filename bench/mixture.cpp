#include "bench/mixture.hpp"

#include "cluster/random.hpp"
#include "stages/dictionary/factorise.hpp"

namespace quench::bench {

namespace {

at::Tensor normal(std::int64_t rows, std::int64_t width, std::uint64_t seed, const char* purpose) {
  dictionary::Options options;
  options.rank = width;
  options.seed = static_cast<std::int64_t>(seed);
  return dictionary::normal_initial(options, purpose)(0, rows);
}

}  // namespace

at::Tensor mixture(std::int64_t rows, std::int64_t width, std::uint64_t seed) {
  constexpr std::int64_t topics = 400;
  constexpr std::int64_t topics_of_a_row = 3;
  const cluster::KeyedRandom random(seed, "mixture");
  auto weights = at::zeros({rows, topics}, at::kFloat);
  auto weight = weights.accessor<float, 2>();
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t t = 0; t < topics_of_a_row; ++t) {
      const auto index = static_cast<std::uint64_t>(2 * (r * topics_of_a_row + t));
      weight[r][static_cast<std::int64_t>(random.below(index, topics))] +=
          static_cast<float>(0.5 * random.uniform(index + 1));
    }
  auto out = at::mm(weights, normal(topics, width, seed, "mixture/topics"));
  out.add_(normal(rows, width, seed, "mixture/noise"));
  out.add_(normal(1, width, seed, "mixture/common"), 0.5);
  return out.to(at::kBFloat16).to(at::kFloat);
}

}  // namespace quench::bench
