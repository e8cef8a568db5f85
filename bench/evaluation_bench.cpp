// The evaluation's work on a real model, one line of JSON a case; bench/evaluation_reference.py is
// the peer and reads the same token ids.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cstdio>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <set>

#include "bench/measure.hpp"
#include "cluster/collectives.hpp"
#include "cluster/heap.hpp"
#include "cluster/session.hpp"
#include "model/generate.hpp"
#include "model/weights.hpp"
#include "pipeline/model_directory.hpp"
#include "stages/corpus/pieces.hpp"
#include "stages/evaluation/measure.hpp"

namespace {

using namespace quench;
using nlohmann::json;

// Plain prompts of a catalog's questions, and the model that they are put to.
class Bench {
 public:
  Bench(cluster::Session& session, const std::string& model, const std::string& catalog)
      : directory_(pipeline::open_model(model)),
        weights_(model::load_weights(session.node(), directory_.config, directory_.checkpoint)),
        base_(directory_.config, weights_.weights),
        meter_(base_, directory_.tokenizer, {}) {
    corpus::Inputs inputs;
    inputs.tokenizer = &directory_.tokenizer;
    corpus::Options options;
    options.prompt_style = "plain";
    const corpus::PieceMaker maker(inputs, options);
    for (const auto& entry : corpus::index_catalog(catalog)) {
      pieces_.push_back(maker.of_concept(corpus::read_concept(catalog, entry)).probes);
    }
    pieces_.push_back(maker.of_shared(corpus::read_shared(catalog)).probes);
  }

  // The first `count` probes of a kind.
  std::vector<Probe> probes(ProbeKind kind, std::size_t count) const {
    std::vector<Probe> chosen;
    for (const auto& piece : pieces_)
      for (const auto& probe : piece)
        if (probe.kind == kind && chosen.size() < count) chosen.push_back(probe);
    return chosen;
  }
  std::vector<Measurement> measure(cluster::Communicator& group, const model::Transformer& model,
                                   const std::vector<Probe>& probes,
                                   const std::vector<Measurement>& base = {}) const {
    return meter_.measure(group, model, probes, base);
  }
  // The model with these rows moved.
  model::Transformer edited(const std::set<std::int32_t>& ids) const {
    model::RowDeltas deltas{directory_.config.width, {ids.begin(), ids.end()}, {}};
    for (std::size_t i = 0; i < ids.size() * static_cast<std::size_t>(deltas.width); ++i)
      deltas.values.push_back(i % 2 == 0 ? 0.1f : -0.1f);
    return {
        directory_.config, weights_.weights,
        model::make_overlay(weights_.weights.embedding, directory_.config.stored_type, deltas, 1)};
  }
  const std::vector<Probe>& piece(std::size_t i) const { return pieces_[i]; }
  std::size_t pieces() const { return pieces_.size(); }
  const model::Transformer& base() const { return base_; }
  const model::Weights& weights() const { return weights_.weights; }

 private:
  pipeline::ModelDirectory directory_;
  model::SharedWeights weights_;
  model::Transformer base_;
  evaluation::Meter meter_;
  std::vector<std::vector<Probe>> pieces_;
};

void print(const json& line) { std::cout << line.dump() << std::endl; }

// Flops of a token's products with the layers' weights; attention itself is left out.
double flops_a_token(const Bench& bench) {
  double parameters = 0;
  auto weights = bench.weights();
  for (const auto& layer : weights.layers)
    for (const auto& w : {layer.q, layer.k, layer.v, layer.o, layer.gate, layer.up, layer.down})
      parameters += static_cast<double>(w.numel());
  return 2 * parameters;
}

// What these flops in that time make of the rate of one plain float32 product.
double share_of_product_rate(double flops, double seconds) {
  const auto a = at::randn({1024, 1024}), b = at::randn({1024, 1024});
  std::vector<double> times;
  for (int i = 0; i < 8; ++i) times.push_back(bench::seconds_of([&] { at::mm(a, b); }));
  return flops / seconds / (2.0 * 1024 * 1024 * 1024 / bench::median(times));
}

// Questions of one kind: seconds, and what the peer compares (to FILE).
void questions(const Bench& bench, cluster::Communicator& world, ProbeKind kind, std::size_t count,
               const std::string& file) {
  const auto probes = bench.probes(kind, count);
  bench.measure(world, bench.base(), {probes.begin(), probes.begin() + 8});
  std::vector<Measurement> said;
  const double seconds =
      bench::seconds_of([&] { said = bench.measure(world, bench.base(), probes); });
  json items = json::array();
  std::int64_t tokens = 0;
  for (std::size_t i = 0; i < probes.size(); ++i) {
    items.push_back({{"context", probes[i].context},
                     {"continuations", probes[i].continuations},
                     {"values", said[i].values}});
    tokens += std::ssize(probes[i].context);
    for (const auto& c : probes[i].continuations) tokens += std::ssize(c) - 1;
  }
  if (world.rank() > 0) return;
  std::ofstream(file) << items.dump();
  print({{"case", kind == ProbeKind::letter ? "letter" : "choice"},
         {"ranks", world.size()},
         {"threads", at::get_num_threads()},
         {"items", probes.size()},
         {"seconds", seconds},
         {"of_product_rate",
          share_of_product_rate(flops_a_token(bench) * static_cast<double>(tokens), seconds)}});
}

// An edit of the first concept: its own and its similar-domain questions, and `general` of those
// that follow, with reuse and without.
void cell(const Bench& bench, cluster::Communicator& world, std::size_t general) {
  std::set<std::int32_t> own, others;
  std::vector<Probe> probes;
  std::size_t counted[] = {0, 0, 0};
  for (std::size_t p = 0; p < bench.pieces(); ++p)
    for (const auto& probe : bench.piece(p)) {
      const int group = p > 0 ? 2 : probe.subset == Subset::own ? 0 : 1;
      if (probe.kind != ProbeKind::choice || (group == 2 && counted[2] == general)) continue;
      ++counted[group];
      (group == 0 ? own : others).insert(probe.context.begin(), probe.context.end());
      probes.push_back(probe);
    }
  std::set<std::int32_t> ids;
  for (const auto id : own)
    if (!others.contains(id)) ids.insert(id);
  const auto base = bench.measure(world, bench.base(), probes);
  const auto model = bench.edited(ids);
  std::vector<Measurement> with, without;
  const double on = bench::seconds_of([&] { with = bench.measure(world, model, probes, base); });
  const double off = bench::seconds_of([&] { without = bench.measure(world, model, probes); });
  std::int64_t computed = 0;
  double largest = 0;
  for (std::size_t i = 0; i < probes.size(); ++i) {
    computed += with[i].reused ? 0 : 1;
    for (std::size_t v = 0; v < with[i].values.size(); ++v)
      largest = std::max<double>(largest, std::abs(with[i].values[v] - without[i].values[v]));
  }
  print({{"case", "cell"},
         {"items", probes.size()},
         {"own", counted[0]},
         {"similar", counted[1]},
         {"general", counted[2]},
         {"edited_tokens", ids.size()},
         {"computed", computed},
         {"seconds_on", on},
         {"seconds_off", off},
         {"largest_difference", largest}});
}

void generation(const Bench& bench, std::size_t count, std::int64_t tokens,
                const std::string& file) {
  std::vector<std::vector<std::int32_t>> prompts;
  for (const auto& probe : bench.probes(ProbeKind::choice, count)) prompts.push_back(probe.context);
  std::vector<std::vector<std::int32_t>> answers;
  const double seconds = bench::seconds_of([&] {
    answers =
        model::generate_greedy(bench.base(), prompts, {.max_new_tokens = tokens, .stop_ids = {}});
  });
  std::ofstream(file) << json{{"prompts", prompts}, {"answers", answers}}.dump();
  print(
      {{"case", "generate"}, {"items", prompts.size()}, {"tokens", tokens}, {"seconds", seconds}});
}

model::Batch batch_of(std::int64_t rows, std::int64_t length) {
  return {at::randint(1000, 20000, {rows, length}, at::kLong),
          at::arange(length).expand({rows, length}).contiguous(),
          at::zeros({rows, length}, at::kLong)};
}

void forward(const Bench& bench) {
  std::vector<double> forward, both;
  {
    const c10::InferenceMode guard;
    const auto batch = batch_of(16, 64);
    for (int i = 0; i < 9; ++i)
      forward.push_back(
          bench::seconds_of([&] { bench.base().logits(bench.base().hidden(batch)); }));
  }
  auto weights = bench.weights();
  weights.for_each(
      [](const std::string&, at::Tensor& w) { w = w.detach().clone().requires_grad_(true); });
  const model::Transformer model(bench.base().config(), weights);
  const auto batch = batch_of(1, 256);
  for (int i = 0; i < 9; ++i)
    both.push_back(bench::seconds_of([&] {
      const auto logits = model.logits(model.hidden(batch))[0];
      at::cross_entropy_loss(logits.narrow(0, 0, 255), batch.ids[0].narrow(0, 1, 255)).backward();
    }));
  // Each position's logits are made; backward takes twice the products of forward.
  const auto& config = bench.base().config();
  const double flops =
      flops_a_token(bench) + 2.0 * static_cast<double>(config.vocab * config.width);
  print(
      {{"case", "forward"},
       {"forward_tokens_s", 16 * 64 / bench::median(forward)},
       {"forward_of_product_rate", share_of_product_rate(flops * 16 * 64, bench::median(forward))},
       {"backward_tokens_s", 256 / bench::median(both)},
       {"backward_of_product_rate", share_of_product_rate(3 * flops * 256, bench::median(both))}});
}

int run(int count, char** words) {
  if (count < 4) {
    std::fprintf(stderr,
                 "usage: evaluation_bench letter|choice|cell|generate|forward MODEL CATALOG "
                 "[ITEMS [FILE]]\n");
    return 64;
  }
  const std::string what = words[1];
  const std::size_t items = count > 4 ? std::stoul(words[4]) : 300;
  const std::string file = count > 5 ? words[5] : "/dev/null";
  cluster::Session session(cluster::SessionOptions{});
  at::set_num_threads(session.topology().threads);
  const Bench bench(session, words[2], words[3]);
  auto& world = session.world();
  if (what == "letter") questions(bench, world, ProbeKind::letter, items, file);
  if (what == "choice") questions(bench, world, ProbeKind::choice, items, file);
  if (what == "cell") cell(bench, world, items);
  if (what == "generate") generation(bench, items, 100, file);
  if (what == "forward") forward(bench);
  return 0;
}

}  // namespace

// As quench's main() does; the peer is another process. The dictionary's benchmarks, whose peers
// are in theirs, leave malloc as it is.
int main(int count, char** words) {
  quench::cluster::keep_freed_memory();
  return quench::bench::guarded("evaluation_bench", [&] { return run(count, words); });
}
