#include "pipeline/embedding_rows.hpp"

#include <algorithm>

namespace quench::pipeline {

model::RowOverlay overlay_from_file(const ModelDirectory& model, const model::RowDeltas& deltas) {
  auto embedding = at::empty({model.config.vocab, model.config.width}, at::kFloat);
  model.checkpoint.read("model.embed_tokens.weight", {embedding.mutable_data_ptr<float>(),
                                                      static_cast<std::size_t>(embedding.numel())});
  return model::make_overlay(embedding, model.config.stored_type, deltas, 1);
}

std::vector<std::vector<selection::Neighbour>> neighbours_of(const at::Tensor& embedding,
                                                             std::span<const std::int32_t> tokens,
                                                             double cosine) {
  constexpr std::int64_t slice = 8192;
  const c10::InferenceMode guard;
  const auto index = at::tensor(std::vector<std::int64_t>(tokens.begin(), tokens.end()), at::kLong);
  const auto mean = embedding.mean(0);
  const auto stems = embedding.index_select(0, index) - mean;
  const auto directions = stems / at::linalg_vector_norm(stems, 2, {1}, true).clamp_min(1e-12);
  std::vector<std::vector<selection::Neighbour>> near(tokens.size());
  for (std::int64_t first = 0; first < embedding.size(0); first += slice) {
    const auto rows = embedding.narrow(0, first, std::min(slice, embedding.size(0) - first)) - mean;
    const auto norms = at::linalg_vector_norm(rows, 2, {1}).clamp_min(1e-12);
    const auto cosines = (directions.mm(rows.t()) / norms).contiguous();
    const auto found = at::nonzero(cosines >= cosine);
    const auto places = found.accessor<std::int64_t, 2>();
    const auto values = cosines.accessor<float, 2>();
    for (std::int64_t i = 0; i < found.size(0); ++i) {
      const auto stem = places[i][0];
      const auto token = static_cast<std::int32_t>(first + places[i][1]);
      if (token != tokens[stem]) near[stem].push_back({token, values[stem][places[i][1]]});
    }
  }
  for (auto& list : near)
    std::ranges::stable_sort(list, std::ranges::greater{}, &selection::Neighbour::cosine);
  return near;
}

void add_token_texts(const model::Tokenizer& tokenizer, selection::Inputs& inputs) {
  const auto is_text = [&tokenizer](std::int32_t id) {
    return id < tokenizer.vocab_size() && !tokenizer.is_special(id);
  };
  inputs.decoded = [&tokenizer, is_text](std::int32_t id) {
    return is_text(id) ? tokenizer.decode(std::vector<std::int32_t>{id}, false) : std::string();
  };
  inputs.piece = [&tokenizer, is_text](std::int32_t id) {
    return is_text(id) ? tokenizer.id_to_token(id) : std::string();
  };
}

}  // namespace quench::pipeline
