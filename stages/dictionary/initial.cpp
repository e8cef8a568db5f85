#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <numbers>

#include "cluster/collectives.hpp"
#include "cluster/random.hpp"
#include "stages/dictionary/factorise.hpp"
#include "stages/dictionary/panels.hpp"

namespace quench::dictionary {

namespace {

constexpr std::int64_t per_index = 4;  // words, and numbers, of one index of the stream

// Uniform numbers, [2 indices, 2], of the stream's indices [first, first + indices): one above 0
// and at most 1, one of a whole turn.
at::Tensor uniform_pairs(const cluster::KeyedRandom& random, std::int64_t first,
                         std::int64_t indices) {
  constexpr float unit = 0x1p-24F;
  constexpr auto turn = static_cast<float>(2 * std::numbers::pi);
  auto out = at::empty({2 * indices, 2}, at::kFloat);
  float* values = out.mutable_data_ptr<float>();
  at::parallel_for(0, indices, 1024, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = begin; i < end; ++i) {
      const auto words = random.words(first + i);
      for (std::int64_t w = 0; w < per_index; w += 2) {
        values[i * per_index + w] = static_cast<float>((words[w] >> 8U) + 1) * unit;
        values[i * per_index + w + 1] = static_cast<float>(words[w + 1] >> 8U) * unit * turn;
      }
    }
  });
  return out;
}

// Numbers [first, first + count) of a stream of standard normal ones (Box and Muller).
at::Tensor normal_numbers(const cluster::KeyedRandom& random, std::int64_t first,
                          std::int64_t count) {
  const auto begin = first / per_index;
  const auto end = (first + count + per_index - 1) / per_index;
  const auto pairs = uniform_pairs(random, begin, end - begin);
  const auto radius = pairs.select(1, 0).log().mul_(-2).sqrt_();
  const auto angle = pairs.select(1, 1);
  const auto numbers = at::stack({radius * angle.cos(), radius * angle.sin()}, 1).flatten();
  const auto offset = first - begin * per_index;
  return numbers.slice(0, offset, offset + count);
}

}  // namespace

InitialRows normal_initial(const Options& options, const std::string& purpose) {
  const cluster::KeyedRandom random(static_cast<std::uint64_t>(options.seed),
                                    "dictionary.init/" + purpose);
  return [random, rank = options.rank](std::int64_t first, std::int64_t count) {
    return normal_numbers(random, first * rank, count * rank).view({count, rank});
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
  // Processors of different kinds may round, and turn vectors, in different ways: rank 0's count.
  auto values = at::empty({rows.width()}, at::kDouble), vectors = square;
  cluster::agree(group, [&] {
    if (group.rank() != 0) return;
    const auto [ascending, columns] = at::linalg_eigh(square);
    values.copy_(ascending);
    vectors.copy_(columns);
  });
  for (const auto* result : {&values, &vectors})
    group.broadcast({result->mutable_data_ptr<double>(), result->numel(), cluster::DType::f64}, 0);
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
