#include "pipeline/embedding_rows.hpp"

namespace quench::pipeline {

model::RowOverlay overlay_from_file(const ModelDirectory& model, const model::RowDeltas& deltas) {
  auto embedding = at::empty({model.config.vocab, model.config.width}, at::kFloat);
  model.checkpoint.read("model.embed_tokens.weight", {embedding.mutable_data_ptr<float>(),
                                                      static_cast<std::size_t>(embedding.numel())});
  return model::make_overlay(embedding, model.config.stored_type, deltas, 1);
}

}  // namespace quench::pipeline
