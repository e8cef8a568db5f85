// The edit of one concept at unit strength.
#include <ATen/ATen.h>

#include <map>

#include "stages/erasure/erasure.hpp"
#include "stages/factorisation/ridge_system.hpp"

namespace quench::erasure {

namespace {

// The coefficients of one token: (feature, coefficient), features ascending.
using Support = std::vector<std::pair<std::int32_t, double>>;

// The supports of the given tokens, by token.
std::map<std::int32_t, Support> supports_of(const Factors& factors,
                                            const std::vector<std::int32_t>& tokens) {
  std::map<std::int32_t, Support> supports;
  for (const auto token : tokens) supports[token];
  const auto m = factors.per_feature();
  for (std::int64_t j = 0; j < factors.rank * m; ++j) {
    const auto found = supports.find(factors.tokens[factors.rows[j]]);
    if (found == supports.end() || factors.coefficients[j] == 0) continue;
    found->second.emplace_back(static_cast<std::int32_t>(j / m), factors.coefficients[j]);
  }
  return supports;
}

// The ridge regression of a row, in scaled space, on the features of a support.
Support solved(const Factors& factors, Support support, std::span<const float> row, double scale,
               double ridge) {
  const auto count = std::ssize(support);
  if (count == 0) return support;
  auto features = at::empty({count, factors.width}, at::kDouble);
  auto target = at::empty({factors.width, 1}, at::kDouble);
  double* out = features.mutable_data_ptr<double>();
  for (const auto& [k, unused] : support)
    out = std::copy_n(factors.features.data() + k * factors.width, factors.width, out);
  std::ranges::transform(row, target.mutable_data_ptr<double>(),
                         [&](float x) { return scale * x; });
  const auto solution =
      RidgeSystem(ridge).solve(features.mm(features.t()), features.mm(target)).contiguous();
  for (std::int64_t i = 0; i < count; ++i) support[i].second = solution.const_data_ptr<double>()[i];
  return support;
}

// The selected features' part of a row, in stored units.
std::vector<float> part_of(const Factors& factors, const Selected& selected, const Support& support,
                           double scale) {
  std::vector<double> part(factors.width, 0.0);
  for (const auto& [k, coefficient] : support) {
    if (!std::ranges::binary_search(selected.features, k)) continue;
    const float* feature = factors.features.data() + k * factors.width;
    for (std::int64_t x = 0; x < factors.width; ++x) part[x] += coefficient * feature[x];
  }
  std::vector<float> stored;
  for (const double x : part) stored.push_back(static_cast<float>(x / scale));
  return stored;
}

}  // namespace

model::RowDeltas unit_edit(const Factors& factors, const Selected& selected, double scale,
                           const Refit& refit) {
  const auto supports = supports_of(factors, selected.tokens);
  std::map<std::int32_t, std::vector<float>> rows;
  for (const auto& [token, support] : supports) {
    const auto used =
        refit.selected ? solved(factors, support, refit.row(token), scale, refit.ridge) : support;
    rows[token] = part_of(factors, selected, used, scale);
  }
  for (const auto& [token, stem] : selected.variants) {
    const auto support = solved(factors, supports.at(stem), refit.row(token), scale, refit.ridge);
    rows[token] = part_of(factors, selected, support, scale);
  }
  model::RowDeltas edit;
  edit.width = factors.width;
  for (const auto& [token, row] : rows) {
    edit.ids.push_back(token);
    edit.values.insert(edit.values.end(), row.begin(), row.end());
  }
  return edit;
}

}  // namespace quench::erasure
