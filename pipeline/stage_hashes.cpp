#include "pipeline/stage_hashes.hpp"

#include "cluster/hash.hpp"

namespace quench::pipeline {

namespace {

std::string hash_of(const std::vector<std::string>& parts) {
  cluster::Sha256 hash;
  for (const auto& part : parts) hash.field(part);
  return hash.hex();
}

// The inputs whose key starts with `prefix`, as one hash.
std::string hash_inputs(const RunIdentity& identity, const std::string& prefix) {
  cluster::Sha256 hash;
  for (const auto& [key, value] : identity.inputs) {
    if (key.starts_with(prefix)) hash.field(key).field(value);
  }
  return hash.hex();
}

}  // namespace

StageHashes stage_hashes(const Configuration& configuration, const RunIdentity& identity) {
  const auto options = [&](const std::vector<std::string>& prefixes) {
    return configuration.table().fingerprint(prefixes);
  };
  const std::string measuring = options(evaluation::measuring_keys());
  const std::string scoring = options(evaluation::scoring_keys());
  StageHashes hashes;
  hashes.model = hash_inputs(identity, "model/");
  hashes.corpus = hash_of({"corpus", hash_inputs(identity, "catalog/"),
                           hash_inputs(identity, "model/tokenizer"),
                           hash_inputs(identity, "model/chat_template"), options({"corpus."})});
  hashes.dictionary =
      hash_of({"dictionary", hashes.corpus, hashes.model, hash_inputs(identity, "dictionary/"),
               configuration.table().fingerprint(
                   {"dictionary."},
                   {"dictionary.batch", "dictionary.checkpoint", "dictionary.init_file"})});
  hashes.activations =
      hash_of({"activations", hashes.corpus, hashes.model,
               configuration.table().fingerprint({"activations."}, {"activations.checkpoint"})});
  hashes.selection = hash_of({"selection", hashes.dictionary, hash_inputs(identity, "selection/"),
                              configuration.table().fingerprint(
                                  {"selection."}, {"selection.manual", "selection.frequencies"})});
  hashes.baseline = hash_of({"baseline", hashes.corpus, hashes.model, measuring});
  hashes.erasure =
      hash_of({"erasure", hashes.selection, hashes.baseline, options({"erasure."}), scoring});
  hashes.evaluation =
      hash_of({"evaluation", hashes.erasure,
               configuration.table().fingerprint({"evaluation."}, {"evaluation.judge"})});
  hashes.relearning = hash_of(
      {"relearning", hashes.erasure, options({"relearning."}), options({"evaluation.resamples"})});
  return hashes;
}

}  // namespace quench::pipeline
