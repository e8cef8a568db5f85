#pragma once

#include <span>
#include <vector>

#include "model/weights.hpp"
#include "pipeline/model_directory.hpp"
#include "stages/selection/selection.hpp"

namespace quench::pipeline {

// The overlay of an edit (strength 1), from the checkpoint's embedding alone: no other weight is
// read. Local.
model::RowOverlay overlay_from_file(const ModelDirectory& model, const model::RowDeltas& deltas);

// The other tokens whose rows are as near as `cosine` to each of `tokens`, nearest first; the mean
// row is left out of all, since most rows point its way. The embedding is read in slices, nothing
// of its size is made. Local.
std::vector<std::vector<selection::Neighbour>> neighbours_of(const at::Tensor& embedding,
                                                             std::span<const std::int32_t> tokens,
                                                             double cosine);

// Gives selection the texts of a tokenizer's tokens.
void add_token_texts(const model::Tokenizer& tokenizer, selection::Inputs& inputs);

}  // namespace quench::pipeline
