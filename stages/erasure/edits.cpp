// The file of edits, read.
#include "stages/erasure/erasure.hpp"

namespace quench::erasure {

bool is_edited(const std::string& status) { return status == "ok" || status == "below_target"; }

Edits::Edits(const std::filesystem::path& file)
    : store_(file, "erasure", schema), rule_(store_.text_attribute("/", "shared_tokens")) {
  strengths_ = store_.read<double>("edits/strength");
  status_ = store_.read_strings("edits/status");
  groups_ = store_.read<std::int64_t>("edits/group");
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
  std::vector<Share> shares;
  for (const auto c : concepts)
    shares.push_back({edit(c), strength(c) * joint_factor(), groups_[c]});
  auto joint = combine(shares, rule_).edit;
  joint.width = static_cast<std::int64_t>(store_.number_attribute("/", "width"));
  return joint;
}

}  // namespace quench::erasure
