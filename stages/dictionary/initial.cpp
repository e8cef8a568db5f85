#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "cluster/collectives.hpp"
#include "cluster/random.hpp"
#include "stages/dictionary/factorise.hpp"
#include "stages/dictionary/panels.hpp"

namespace quench::dictionary {

InitialRows normal_initial(const Options& options, const std::string& purpose) {
  const cluster::KeyedRandom random(static_cast<std::uint64_t>(options.seed),
                                    "dictionary.init/" + purpose);
  return [random, rank = options.rank](std::int64_t first, std::int64_t count) {
    auto out = at::empty({count, rank}, at::kFloat);
    float* values = out.mutable_data_ptr<float>();
    at::parallel_for(0, count * rank, 4096, [&](std::int64_t begin, std::int64_t end) {
      for (auto i = begin; i < end; ++i)
        values[i] = static_cast<float>(random.normal(first * rank + i));
    });
    return out;
  };
}

InitialRows svd_initial(const Shard& shard, const Options& options, const std::string& purpose,
                        cluster::Communicator& group) {
  constexpr std::int64_t panel_rows = 4096;
  const auto& rows = shard.rows;
  auto square = at::zeros({rows.width(), rows.width()}, at::kDouble);  // A A^T, stored units
  for_each_panel(rows, panel_rows, [&](const at::Tensor& panel, std::int64_t) {
    const auto part = panel.to(at::kDouble);
    square.addmm_(part.t(), part);
  });
  group.all_reduce({square.mutable_data_ptr<double>(), square.numel(), cluster::DType::f64},
                   cluster::Op::sum);
  const auto [values, vectors] = at::linalg_eigh(square);  // ascending
  const auto known = std::min<std::int64_t>(
      options.rank, (values > values[-1] * 1e-10).sum().item<std::int64_t>());
  // Row i of V is stored row i times U S^-1.
  const auto map = (vectors.flip({1}).slice(1, 0, known) /
                    values.flip({0}).slice(0, 0, known).clamp_min(1e-300).sqrt())
                       .to(at::kFloat);
  const auto rest = normal_initial(options, purpose);
  return [&rows, map, known, rest, offset = shard.first](std::int64_t first, std::int64_t count) {
    auto out = rest(first, count);
    if (known == 0) return out;
    const auto panel = at::empty({count, rows.width()}, at::kFloat);
    rows.copy(first - offset, count, panel.mutable_data_ptr<float>());
    out.slice(1, 0, known).copy_(at::mm(panel, map));
    return out;
  };
}

}  // namespace quench::dictionary
