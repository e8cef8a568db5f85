// The algebra of row edits, and their file.
#include <algorithm>
#include <cmath>
#include <map>

#include "stages/erasure/erasure.hpp"

namespace quench::erasure {

namespace {

// The selected features' part of each selected token's embedding, in float64.
std::map<std::int32_t, std::vector<double>> parts_of(const Factors& factors,
                                                     const Selected& selected) {
  std::map<std::int32_t, std::vector<double>> parts;
  for (const auto token : selected.tokens) parts.emplace(token, std::vector<double>(factors.width));
  const auto m = factors.per_feature();
  for (const auto k : selected.features) {
    const float* feature = factors.features.data() + k * factors.width;
    for (std::int64_t j = k * m; j < (k + 1) * m; ++j) {
      const auto found = parts.find(factors.tokens[factors.rows[j]]);
      if (found == parts.end()) continue;
      for (std::int64_t x = 0; x < factors.width; ++x) {
        found->second[x] += static_cast<double>(factors.coefficients[j]) * feature[x];
      }
    }
  }
  return parts;
}

double squared_norm(std::span<const float> row, double strength) {
  double total = 0;
  for (const float x : row) total += strength * x * strength * x;
  return total;
}

struct CombinedRow {
  std::vector<double> values;
  double squared_norm = 0;
};

void merge(CombinedRow& into, std::span<const float> row, double strength, bool strongest) {
  const double norm = squared_norm(row, strength);
  if (into.values.empty()) into.values.assign(row.size(), 0.0);
  if (strongest && norm <= into.squared_norm) return;
  if (strongest) std::ranges::fill(into.values, 0.0);
  into.squared_norm = std::max(norm, into.squared_norm);
  for (std::size_t x = 0; x < row.size(); ++x) into.values[x] += strength * row[x];
}

}  // namespace

model::RowDeltas unit_edit(const Factors& factors, const Selected& selected, double scale) {
  model::RowDeltas edit;
  edit.width = factors.width;
  for (const auto& [token, part] : parts_of(factors, selected)) {
    edit.ids.push_back(token);
    for (const double x : part) edit.values.push_back(static_cast<float>(x / scale));
  }
  return edit;
}

model::RowDeltas combine(std::span<const model::RowDeltas> edits, std::span<const double> strengths,
                         const std::string& rule) {
  std::map<std::int32_t, CombinedRow> rows;
  model::RowDeltas joint;
  for (std::size_t e = 0; e < edits.size(); ++e) {
    if (strengths[e] == 0 || edits[e].ids.empty()) continue;
    joint.width = edits[e].width;
    for (std::size_t i = 0; i < edits[e].ids.size(); ++i) {
      const auto row = std::span(edits[e].values).subspan(i * joint.width, joint.width);
      merge(rows[edits[e].ids[i]], row, strengths[e], rule == "strongest");
    }
  }
  for (const auto& [id, row] : rows) {
    joint.ids.push_back(id);
    for (const double x : row.values) joint.values.push_back(static_cast<float>(x));
  }
  return joint;
}

Edits::Edits(const std::filesystem::path& file)
    : store_(file, "erasure", schema), rule_(store_.text_attribute("/", "shared_tokens")) {
  strengths_ = store_.read<double>("edits/strength");
  status_ = store_.read_strings("edits/status");
}

std::int64_t Edits::concepts() const { return std::ssize(strengths_); }

double Edits::strength(std::int64_t concept_index) const { return strengths_[concept_index]; }

const std::string& Edits::status(std::int64_t concept_index) const {
  return status_[concept_index];
}

model::RowDeltas Edits::edit(std::int64_t concept_index) const {
  const cluster::Range row{concept_index, concept_index + 1};
  return {static_cast<std::int64_t>(store_.number_attribute("/", "width")),
          store_.read_ragged<std::int32_t>("edits/tokens", row)[0],
          store_.read_ragged<float>("edits/values", row)[0]};
}

double Edits::joint_factor() const { return store_.number_attribute("/", "joint_factor"); }

model::RowDeltas Edits::joint(std::span<const std::int64_t> concepts) const {
  std::vector<model::RowDeltas> edits;
  std::vector<double> strengths;
  for (const auto c : concepts) {
    edits.push_back(edit(c));
    strengths.push_back(strength(c) * joint_factor());
  }
  auto joint = combine(edits, strengths, rule_);
  joint.width = static_cast<std::int64_t>(store_.number_attribute("/", "width"));
  return joint;
}

}  // namespace quench::erasure
