#include <algorithm>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "cluster/communicator.hpp"
#include "cluster/error.hpp"
#include "model/generate.hpp"
#include "model/score.hpp"
#include "model/transformer.hpp"

namespace {

using namespace quench::model;
using Tokens = std::vector<std::int32_t>;

// Rows padded in front or behind, side by side.
Batch batch_of(const std::vector<Tokens>& rows, bool pad_in_front) {
  const auto longest = std::ranges::max_element(rows, {}, &Tokens::size)->size();
  std::vector<at::Tensor> ids, positions, branches;
  for (const Tokens& row : rows) {
    const auto padding = static_cast<std::int64_t>(longest - row.size());
    const auto pad = [&](const at::Tensor& x, std::int64_t value) {
      const std::vector<std::int64_t> places{pad_in_front ? padding : 0,
                                             pad_in_front ? 0 : padding};
      return at::constant_pad_nd(x, places, value);
    };
    const at::Tensor order = at::arange(std::ssize(row), at::kLong);
    ids.push_back(pad(at::tensor(row).to(at::kLong), 0));
    positions.push_back(pad(order, 0));
    branches.push_back(pad(at::zeros_like(order), -1));
  }
  return {at::stack(ids), at::stack(positions), at::stack(branches)};
}

// The logits of every token of every row, [tokens, vocab] float32, one row after the other.
void write_logits(const Transformer& model, const nlohmann::json& request) {
  const auto rows = request.at("rows").get<std::vector<Tokens>>();
  const bool in_front = request.at("pad") == "left";
  const at::Tensor hidden = model.hidden(batch_of(rows, in_front));
  std::ofstream out(request.at("out").get<std::string>(), std::ios::binary);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto length = std::ssize(rows[i]);
    const at::Tensor row = hidden[static_cast<std::int64_t>(i)];
    const at::Tensor tokens = in_front ? row.slice(0, -length) : row.slice(0, 0, length);
    const at::Tensor logits = model.logits(tokens).contiguous();
    out.write(static_cast<const char*>(logits.const_data_ptr()),
              static_cast<std::streamsize>(logits.nbytes()));
  }
}

// What the MLP of every layer holds before its down projection, at every token of every row:
// [layers, tokens, mlp_width] float32.
void write_activations(const Transformer& model, const nlohmann::json& request) {
  const auto rows = request.at("rows").get<std::vector<Tokens>>();
  Passage passage = model.enter(batch_of(rows, request.at("pad") == "left"));
  const at::Tensor kept = passage.batch.branches.ge(0);
  std::ofstream out(request.at("out").get<std::string>(), std::ios::binary);
  for (std::int64_t layer = 0; layer < model.config().layers; ++layer) {
    const at::Tensor tokens = at::index(model.mlp_activations(passage, layer), {kept}).contiguous();
    out.write(static_cast<const char*>(tokens.const_data_ptr()),
              static_cast<std::streamsize>(tokens.nbytes()));
  }
}

nlohmann::json scores(const Transformer& model, const nlohmann::json& request) {
  std::vector<ScoreItem> items;
  for (const auto& item : request.at("items"))
    items.push_back(
        {item.at("context").get<Tokens>(), item.at("continuations").get<std::vector<Tokens>>()});
  nlohmann::json answer = nlohmann::json::array();
  for (const auto& continuations : score(model, items, {request.at("max_tokens")})) {
    nlohmann::json& logprobs = answer.emplace_back(nlohmann::json::array());
    for (const ContinuationScore& continuation : continuations)
      logprobs.push_back(continuation.logprob);
  }
  return answer;
}

nlohmann::json answers(const Transformer& model, const nlohmann::json& request) {
  const GenerateOptions options{.max_new_tokens = request.at("max_new_tokens"),
                                .stop_ids = request.at("stop_ids"),
                                .batch = request.at("batch")};
  return generate_greedy(model, request.at("prompts").get<std::vector<Tokens>>(), options);
}

nlohmann::json answer(const Transformer& model, const nlohmann::json& request) {
  if (request.at("what") == "score") return scores(model, request);
  if (request.at("what") == "generate") return answers(model, request);
  if (request.at("what") == "activations") {
    write_activations(model, request);
  } else {
    write_logits(model, request);
  }
  return {};
}

}  // namespace

// transformer_driver MODEL_DIR: for each JSON line on standard input a JSON line; tokens are ids.
// {"what": "logits" or "activations", "rows", "pad", "out"},
// {"what": "score", "items", "max_tokens"},
// {"what": "generate", "prompts", "max_new_tokens", "stop_ids", "batch"}.
int main(int argc, char** argv) try {
  if (argc != 2) throw quench::ConfigError("usage: transformer_driver MODEL_DIR");
  const c10::InferenceMode guard;
  const ModelConfig config = read_config(argv[1]);
  const auto self = quench::cluster::make_self_communicator();
  const SharedWeights shared = load_weights(*self, config, Checkpoint::open(argv[1]));
  const Transformer model(config, shared.weights);
  for (std::string line; std::getline(std::cin, line);)
    std::cout << answer(model, nlohmann::json::parse(line)) << std::endl;
  return 0;
} catch (const quench::Error& error) {
  std::cerr << error.what() << "\n";
  return static_cast<int>(error.code());
}
