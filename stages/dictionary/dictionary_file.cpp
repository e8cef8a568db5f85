#include "stages/dictionary/dictionary_file.hpp"

#include "stages/dictionary/dictionary.hpp"

namespace quench::dictionary {

void append(Block& block, Fit fit, std::string failure) {
  const auto& factors = fit.factors;
  const auto kept = factors.per_feature();
  for (std::int64_t k = 0; k < factors.rank; ++k) {
    const auto first = k * kept;
    block.rows.emplace_back(factors.rows.begin() + first, factors.rows.begin() + first + kept);
    block.coefficients.emplace_back(factors.coefficients.begin() + first,
                                    factors.coefficients.begin() + first + kept);
  }
  block.features.insert(block.features.end(), factors.features.begin(), factors.features.end());
  block.ranks.push_back(factors.rank);
  block.best_iterations.push_back(fit.best_iteration);
  block.ridges.push_back(fit.ridge);
  block.shares.push_back(fit.share_computed);
  block.seconds.push_back(fit.seconds.total());
  block.predicted_seconds.push_back(fit.predicted_seconds);
  block.stop_reasons.push_back(std::move(fit.stop_reason));
  block.forms.push_back(std::move(fit.form));
  block.failures.push_back(std::move(failure));
  block.tokens.push_back(std::move(fit.factors.tokens));
  block.objectives.push_back(std::move(fit.objective));
}

void write(cluster::Communicator& comm, const std::filesystem::path& path,
           const cluster::StoreHeader& header, const Block& block, double scale, bool joint) {
  cluster::StoreWriter writer(comm, path, header);
  const cluster::Axes each{{"dictionary"}, ""};
  writer.write_rows<std::int64_t>("dictionaries/feature_count", block.ranks, {}, each);
  writer.write_rows<float>("features/vectors", block.features, {block.width},
                           {{"feature", "width"}, "scaled embedding"});
  writer.write_ragged("g/rows", block.rows, {{"feature"}, ""});
  writer.write_ragged("g/values", block.coefficients, {{"feature"}, ""});
  writer.write_ragged("dictionaries/tokens", block.tokens, each);
  writer.write_ragged("dictionaries/objective", block.objectives,
                      {{"dictionary"}, "squared scaled embedding"});
  writer.write_rows<double>("dictionaries/ridge", block.ridges, {}, each);
  writer.write_rows<std::int64_t>("dictionaries/best_iteration", block.best_iterations, {},
                                  {{"dictionary"}, "iterations"});
  writer.write_rows<double>("dictionaries/share_computed", block.shares, {}, each);
  writer.write_rows<double>("dictionaries/seconds", block.seconds, {}, {{"dictionary"}, "s"});
  writer.write_strings("dictionaries/stop_reason", block.stop_reasons, each);
  writer.write_strings("dictionaries/form", block.forms, each);
  writer.write_strings("dictionaries/failure", block.failures, each);
  writer.attribute("/", "failures", block.failed);
  writer.attribute("/", "joint", std::int64_t{joint ? 1 : 0});
  writer.attribute("/", "embedding_scale", scale);
  writer.finish();
}

Dictionaries::Dictionaries(const std::filesystem::path& file)
    : store_(file, "dictionary", schema),
      joint_(store_.number_attribute("/", "joint") != 0),
      feature_offsets_{0} {
  for (const auto features : store_.read<std::int64_t>("dictionaries/feature_count"))
    feature_offsets_.push_back(feature_offsets_.back() + features);
}

const Factors& Dictionaries::factors(std::int64_t concept_index) const {
  const auto place = place_of(concept_index);
  if (place == read_) return last_;
  const cluster::Range features{feature_offsets_.at(place), feature_offsets_.at(place + 1)};
  last_ = {};
  if (features.size() > 0) {
    last_.rank = features.size();
    last_.width = store_.shape("features/vectors").at(1);
    last_.tokens =
        store_.read_ragged<std::int32_t>("dictionaries/tokens", {place, place + 1}).at(0);
    last_.features = store_.read_rows<float>("features/vectors", features);
    for (const auto& rows : store_.read_ragged<std::int32_t>("g/rows", features))
      last_.rows.insert(last_.rows.end(), rows.begin(), rows.end());
    for (const auto& values : store_.read_ragged<float>("g/values", features))
      last_.coefficients.insert(last_.coefficients.end(), values.begin(), values.end());
  }
  read_ = place;
  return last_;
}

std::string Dictionaries::failure(std::int64_t concept_index) const {
  const auto place = place_of(concept_index);
  return store_.read_strings("dictionaries/failure", {place, place + 1}).at(0);
}

}  // namespace quench::dictionary
