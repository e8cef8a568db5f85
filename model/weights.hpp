#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cluster/communicator.hpp"
#include "model/checkpoint.hpp"
#include "model/config.hpp"

namespace quench::model {

// float32 tensors in Hugging Face layout ([out, in] for projections); undefined where an
// architecture has none. Named by what they do: Llama's `post_attention_layernorm` stands before
// the MLP and is pre_mlp_norm here; post_attention_norm and post_mlp_norm are of sandwich_norms.
struct LayerWeights {
  at::Tensor q, k, v, o, gate, up, down;
  at::Tensor q_bias, k_bias, v_bias, o_bias;
  at::Tensor input_norm, post_attention_norm, pre_mlp_norm, post_mlp_norm, q_norm, k_norm;
};

// Handles to the tensors of a model; copying copies handles. With a tied model lm_head is the same
// tensor as embedding (edits go to rows beside it, see RowOverlay, so the output side never
// changes).
struct Weights {
  at::Tensor embedding;  // [vocab, width]
  at::Tensor lm_head;    // [vocab, width]
  at::Tensor final_norm;
  std::vector<LayerWeights> layers;

  // Calls visit(Hugging Face name, tensor) for every defined tensor, embedding first, in one fixed
  // order. A tied lm_head is visited too.
  void for_each(const std::function<void(const std::string&, at::Tensor&)>& visit);
};

// A base model's weights, once a node: all ranks of the node map the same read-only window. The
// handles are valid while `memory` lives.
struct SharedWeights {
  std::unique_ptr<cluster::SharedMemory> memory;
  Weights weights;
};

// Collective over the node's ranks: its rank 0 reads the files in large plain reads with all its
// threads, the others get the mapping. All throw together (DataError) when the checkpoint does not
// fit the configuration, reading fails or a number is not finite; rank 0 warns of tensors that the
// configuration has no use for.
SharedWeights load_weights(cluster::Communicator& node, const ModelConfig& config,
                           const Checkpoint& checkpoint);

// Rows of the input embedding that differ from the base model's. The rows hold what the exported
// checkpoint holds.
struct RowOverlay {
  std::vector<std::int32_t> ids;  // ascending, distinct
  at::Tensor rows;                // [ids, width] float32
  at::Tensor row_of_id;           // [vocab] int32: index into rows, -1 where the base's row holds
  bool empty() const { return ids.empty(); }
  bool edits(std::int32_t id) const;
};

// A sparse change of embedding rows at unit strength, in stored units (what a checkpoint's row
// changes by, to be subtracted).
struct RowDeltas {
  std::int64_t width = 0;
  std::vector<std::int32_t> ids;  // ascending, distinct
  std::vector<float> values;      // [ids, width]
};

// rows = round(base[ids] - strength * deltas) to the stored type, computed in float32 and rounded
// once (design: what is evaluated is what is exported). embedding: [vocab, width]. Throws DataError
// when a row leaves the stored type's range, InternalError for deltas that are not as above.
RowOverlay make_overlay(const at::Tensor& embedding, StoredType type, const RowDeltas& deltas,
                        double strength);

// Row i of an overlay as a checkpoint of this type stores it.
std::vector<std::byte> stored_row(const RowOverlay& overlay, std::int64_t i, StoredType type);

// Throws InternalError when the rows are not of this model.
void check_overlay(const ModelConfig& config, const RowOverlay& overlay);

}  // namespace quench::model
