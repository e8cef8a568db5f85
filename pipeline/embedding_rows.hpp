#pragma once

#include "model/weights.hpp"
#include "pipeline/model_directory.hpp"

namespace quench::pipeline {

// The overlay of an edit (strength 1), from the checkpoint's embedding alone: no other weight is
// read. Local.
model::RowOverlay overlay_from_file(const ModelDirectory& model, const model::RowDeltas& deltas);

}  // namespace quench::pipeline
