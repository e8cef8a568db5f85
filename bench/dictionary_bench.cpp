// Dictionary learning beside the reference's iteration in dense products of libtorch, from the same
// G_0 on the same cores in one run. One line of JSON a case on standard output.
//
//   dictionary_bench iteration WIDTH ROWS RANK [EMBEDDING [FORM]]   an iteration, and whole fits
//   dictionary_bench joint WIDTH ROWS RANK [EMBEDDING]   one of many rows; also under mpirun
//   dictionary_bench catalog CONCEPTS WIDTH RANK         many concepts in a row
//   dictionary_bench bytes                               bytes sent, by rows and ranks
//   dictionary_bench scaling WIDTH ROWS RANK ITERATION_S PRODUCT_S   predictions for more ranks
//
// EMBEDDING: raw float32 rows of that width (bench/run.sh makes it); without it bench/mixture.hpp.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <string_view>

#include "bench/counting_communicator.hpp"
#include "bench/measure.hpp"
#include "bench/mixture.hpp"
#include "bench/reference.hpp"
#include "cluster/collectives.hpp"
#include "cluster/error.hpp"
#include "cluster/partition.hpp"
#include "cluster/session.hpp"
#include "stages/dictionary/cost_model.hpp"
#include "stages/dictionary/dictionary.hpp"
#include "stages/dictionary/factorise.hpp"
#include "stages/dictionary/half_product.hpp"
#include "tests/support/shared_directory.hpp"

namespace {

using namespace quench;
using dictionary::Fit;
using dictionary::Options;
using nlohmann::json;

constexpr double density = 0.01;
constexpr double decrease = 0.999;  // of the reference's whole decrease

struct Case {
  std::int64_t width, rows, rank;
  std::string embedding;
  std::string form = "auto";
};

// Rows [first, first + count) of the case.
std::vector<float> rows_of(const Case& given, std::int64_t first, std::int64_t count) {
  std::vector<float> out(count * given.width);
  if (given.embedding.empty()) {
    const auto all = bench::mixture(given.rows, given.width, 1);
    const float* numbers = all.const_data_ptr<float>() + first * given.width;
    std::copy_n(numbers, out.size(), out.begin());
    return out;
  }
  std::ifstream in(given.embedding, std::ios::binary);
  in.seekg(first * given.width * static_cast<std::int64_t>(sizeof(float)));
  in.read(reinterpret_cast<char*>(out.data()),
          static_cast<std::streamsize>(out.size() * sizeof(float)));
  if (!in) throw DataError(given.embedding + ": too short for the case");
  return out;
}

dictionary::Shard shard_of(const Case& given, const std::vector<float>& rows, std::int64_t first) {
  std::vector<std::int32_t> tokens(rows.size() / given.width);
  std::iota(tokens.begin(), tokens.end(), static_cast<std::int32_t>(first));
  return {dictionary::Rows(rows, tokens, given.width, 1), first, given.rows};
}

// The reference until its own stop: objectives and seconds from the start, by iteration.
struct Trace {
  std::vector<double> objective, seconds;
  std::vector<std::int64_t> bytes;  // sent until then, where they are counted
};

Trace run_reference(const Case& given, const std::vector<float>& rows, const Options& options) {
  const auto a =
      at::from_blob(const_cast<float*>(rows.data()), {given.rows, given.width}).t().contiguous();
  auto g = dictionary::normal_initial(options, "bench")(0, given.rows);
  Trace trace;
  double best = std::numeric_limits<double>::infinity();
  std::int64_t since = 0;
  const double start = bench::now();
  while (since < options.patience && std::ssize(trace.objective) < options.max_iterations) {
    trace.objective.push_back(bench::reference_iteration(a, g, options.ridge, options.density));
    trace.seconds.push_back(bench::now() - start);
    since = trace.objective.back() < best - options.tolerance ? 0 : since + 1;
    best = std::min(best, trace.objective.back());
  }
  return trace;
}

// First time at which a trace is at `goal` or below; negative when it never is.
double time_to(const Trace& trace, double goal) {
  for (std::size_t i = 0; i < trace.objective.size(); ++i)
    if (trace.objective[i] <= goal) return trace.seconds[i];
  return -1;
}

// `counted`: what counts the bytes that this rank sends; may be null.
std::pair<Fit, Trace> run_ours(const dictionary::Shard& shard, const Options& options,
                               cluster::Communicator& group,
                               const bench::CountingCommunicator* counted = nullptr) {
  Trace trace;
  dictionary::FitHooks hooks;
  const double start = bench::now();
  hooks.progress = [&](std::int64_t, double objective) {
    trace.objective.push_back(objective);
    trace.seconds.push_back(bench::now() - start);
    if (counted != nullptr) trace.bytes.push_back(counted->bytes());
  };
  auto fit = dictionary::factorise(shard, dictionary::normal_initial(options, "bench"), options,
                                   group, hooks);
  return {std::move(fit), std::move(trace)};
}

json phases(const Fit& fit) {
  const auto& s = fit.seconds;
  return {{"start", s.start},     {"systems", s.systems}, {"dense", s.dense},
          {"winners", s.winners}, {"sparse", s.sparse},   {"communication", s.communication}};
}

double mean_iteration(const Trace& trace, std::size_t from, std::size_t to) {
  return (trace.seconds[to - 1] - trace.seconds[from - 1]) / static_cast<double>(to - from);
}

// Seconds of one plain product A^T F of the case.
double plain_product(const Case& given, const std::vector<float>& rows) {
  const auto a = at::from_blob(const_cast<float*>(rows.data()), {given.rows, given.width});
  const auto f = at::randn({given.width, given.rank});
  auto out = at::empty({given.rows, given.rank});
  std::vector<double> times;
  for (int i = 0; i < 5; ++i) times.push_back(bench::seconds_of([&] { at::mm_out(out, a, f); }));
  return bench::median(times);
}

void iteration(const Case& given) {
  const auto rows = rows_of(given, 0, given.rows);
  Options options;
  options.rank = given.rank;
  options.density = density;
  options.form = given.form;
  options.stop = "patience";
  const auto peer = run_reference(given, rows, options);
  const auto shard = shard_of(given, rows, 0);
  const auto self = cluster::make_self_communicator();
  options.max_iterations = std::ssize(peer.objective);
  const auto [same, ours] = run_ours(shard, options, *self);
  options.stop = "progress";
  const auto [fit, progress] = run_ours(shard, options, *self);

  const double least = *std::min_element(peer.objective.begin(), peer.objective.end());
  const double goal = peer.objective[0] - decrease * (peer.objective[0] - least);
  const auto iterations = std::min(peer.objective.size(), ours.objective.size());
  const auto early = std::min<std::size_t>(50, iterations);
  std::cout << json{{"case", "iteration"},
                    {"width", given.width},
                    {"rows", given.rows},
                    {"rank", given.rank},
                    {"data", given.embedding.empty() ? "mixture" : "embedding"},
                    {"threads", at::get_num_threads()},
                    {"iterations", iterations},
                    {"product_s", plain_product(given, rows)},
                    {"peer_iteration_s", mean_iteration(peer, 1, iterations)},
                    {"iteration_s", mean_iteration(ours, 1, iterations)},
                    {"iteration_first_50_s", mean_iteration(ours, 1, early)},
                    {"share_computed", same.share_computed},
                    {"phases_s", phases(same)},
                    {"form", same.form},
                    {"peer_fit_s", peer.seconds.back()},
                    {"time_to_decrease_s", time_to(ours, goal)},
                    {"peer_time_to_decrease_s", time_to(peer, goal)},
                    {"progress_fit_s", progress.seconds.back()},
                    {"progress_iterations", progress.objective.size()},
                    {"progress_decrease",
                     (progress.objective[0] -
                      *std::min_element(progress.objective.begin(), progress.objective.end())) /
                         (peer.objective[0] - least)}}
                   .dump()
            << std::endl;
}

// The dense formulation sharded the same way: each rank's rows, sums over ranks of A G, G^T G and
// the histograms' stand-in, an all_gather of nothing: its selection is a local top-k a rank, which
// flatters it.
double sharded_reference(const std::vector<float>& rows, std::int64_t width, const Options& options,
                         const at::Tensor& initial, cluster::Communicator& group) {
  const auto a = at::from_blob(const_cast<float*>(rows.data()), {std::ssize(rows) / width, width});
  auto g = initial;
  const auto sum = [&](at::Tensor part) {
    part = part.contiguous();
    group.all_reduce({part.mutable_data_ptr<float>(), part.numel(), cluster::DType::f32},
                     cluster::Op::sum);
    return part;
  };
  const auto identity = at::eye(options.rank);
  const double start = bench::now();
  const auto gram = sum(at::mm(g.t(), g));
  auto f = at::mm(sum(at::mm(a.t(), g)), at::linalg_inv(gram + options.ridge * identity));
  f = f * gram.diagonal().sqrt().clamp_min(1e-8);
  g = at::mm(at::mm(a, f), at::linalg_inv(at::mm(f.t(), f) + options.ridge * identity));
  const auto kept = kept_per_feature(g.size(0), options.density);
  const auto places = std::get<1>(g.abs().topk(kept, 0));
  g = at::zeros_like(g).scatter(0, places, g.gather(0, places));
  double loss = (a - at::mm(g, f.t())).square().sum().item<double>();
  loss = cluster::all_reduce_value(group, loss, cluster::Op::sum);
  return bench::now() - start + 0 * loss;
}

void joint(const Case& given, cluster::Communicator& world) {
  const auto own = cluster::rows_of(given.rows, world.size(), world.rank());
  const auto rows = rows_of(given, own.begin, own.size());
  Options options;
  options.rank = given.rank;
  options.density = density;
  options.form = "streamed";
  options.max_iterations = 6;
  bench::CountingCommunicator counted(world);
  const auto shard = shard_of(given, rows, own.begin);
  const auto [fit, ours] = run_ours(shard, options, counted, &counted);
  const auto initial = dictionary::normal_initial(options, "bench")(own.begin, own.size());
  const double peer = sharded_reference(rows, given.width, options, initial, world);
  Case local = given;
  local.rows = own.size();
  const double product = plain_product(local, rows);
  const dictionary::FitShape shape{given.rows,   given.width,
                                   given.rank,   kept_per_feature(given.rows, density),
                                   world.size(), dictionary::HalfProduct::speed()};
  if (world.rank() != 0) return;
  const double mine = mean_iteration(ours, 3, ours.seconds.size());
  std::cout << json{{"case", "joint"},
                    {"width", given.width},
                    {"rows", given.rows},
                    {"rank", given.rank},
                    {"ranks", world.size()},
                    {"threads", at::get_num_threads()},
                    {"data", given.embedding.empty() ? "mixture" : "embedding"},
                    {"product_s", product},
                    {"iteration_s", mine},
                    {"predicted_iteration_s",
                     dictionary::predict(shape, dictionary::Form::streamed).seconds},
                    {"peer_iteration_s", peer},
                    {"share_of_product_rate", product / mine},
                    {"phases_s", phases(fit)},
                    {"payload_bytes_an_iteration", ours.bytes.end()[-1] - ours.bytes.end()[-2]}}
                   .dump()
            << std::endl;
}

// The whole stage, queue and files included: concepts of 4,000 to 6,000 tokens, 3,000 of which are
// the neutral text's, which all share. Shares are of the ranks' time.
void catalog(std::int64_t concepts, std::int64_t width, std::int64_t rank,
             cluster::Session& session) {
  constexpr std::int64_t vocab = 12000, neutral = 3000;
  Options options;
  options.rank = rank;
  options.density = density;
  const auto vocabulary = bench::mixture(vocab, width, 1).contiguous();
  dictionary::Inputs inputs;
  inputs.concepts = concepts;
  inputs.shared_tokens.resize(neutral);
  std::iota(inputs.shared_tokens.begin(), inputs.shared_tokens.end(), 0);
  inputs.tokens = [&](std::int64_t c) {
    auto tokens = inputs.shared_tokens;
    const auto own = 1000 + 2000 * c / std::max<std::int64_t>(1, concepts - 1);
    for (std::int64_t i = 0; i < own; ++i)
      tokens.push_back(static_cast<std::int32_t>(neutral + (3 * i + 37 * c) % (vocab - neutral)));
    std::sort(tokens.begin(), tokens.end());
    return tokens;
  };
  inputs.concept_hash = [](std::int64_t c) { return "concept " + std::to_string(c); };
  inputs.is_special = [](std::int32_t) { return false; };
  inputs.embedding = {vocabulary.const_data_ptr<float>(),
                      static_cast<std::size_t>(vocabulary.numel())};
  inputs.width = width;
  inputs.embedding_hash = inputs.inputs_hash = inputs.run_id = "bench";

  const testing::SharedDirectory directory(session.world());
  cluster::StopFlag stop;
  cluster::Timers timers;
  cluster::Context context{session, stop, timers, directory.path(), /*quiet=*/true};
  const double seconds = bench::seconds_of([&] { dictionary::run(inputs, options, context); });
  json line{{"case", "catalog"},
            {"concepts", concepts},
            {"width", width},
            {"rank", rank},
            {"ranks", session.world().size()},
            {"threads", at::get_num_threads()},
            {"seconds", seconds},
            {"concepts_an_hour", 3600 * static_cast<double>(concepts) / seconds}};
  double rest = 1;
  for (const auto& timer : cluster::summarise(session.world(), timers)) {
    constexpr std::string_view prefix = "kernel/factorise/";
    if (!timer.name.starts_with(prefix)) continue;
    line["share_" + timer.name.substr(prefix.size())] = timer.mean / seconds;
    rest -= timer.mean / seconds;
  }
  line["share_rest"] = rest;
  if (session.world().rank() == 0) std::cout << line.dump() << std::endl;
}

// Counted on threads: what is sent does not depend on how.
void bytes() {
  for (const std::int64_t rows : {65536, 262144})
    for (const int ranks : {2, 4, 8, 16}) {
      Options options;
      options.rank = 64;
      options.density = density;
      options.form = "streamed";
      options.max_iterations = 32;
      const Case given{32, rows, options.rank, "", options.form};
      const auto all = bench::mixture(rows, given.width, 1);
      // Of an iteration in which no feature is screened twice, and of a mean one.
      constexpr std::int64_t first = 5;
      std::vector<std::int64_t> least(ranks, std::numeric_limits<std::int64_t>::max());
      std::vector<double> mean(ranks);
      cluster::run_on_threads(ranks, [&](cluster::Communicator& world) {
        at::set_num_threads(1);
        const auto own = cluster::rows_of(rows, ranks, world.rank());
        const float* numbers = all.const_data_ptr<float>();
        const std::vector<float> mine(numbers + own.begin * given.width,
                                      numbers + own.end * given.width);
        bench::CountingCommunicator counted(world);
        const auto shard = shard_of(given, mine, own.begin);
        std::int64_t last = 0;
        dictionary::FitHooks hooks;
        hooks.progress = [&](std::int64_t iteration, double) {
          const auto sent = counted.bytes() - last;
          last = counted.bytes();
          if (iteration < first) return;
          least[world.rank()] = std::min(least[world.rank()], sent);
          mean[world.rank()] +=
              static_cast<double>(sent) / static_cast<double>(options.max_iterations - first + 1);
        };
        dictionary::factorise(shard, dictionary::normal_initial(options, "bench"), options, counted,
                              hooks);
      });
      const dictionary::FitShape shape{rows, given.width, options.rank,
                                       kept_per_feature(rows, density), ranks};
      std::cout << json{{"case", "bytes"},
                        {"rows", rows},
                        {"ranks", ranks},
                        {"sent_by_a_rank", least[0]},
                        {"mean_sent_by_a_rank", mean[0]},
                        {"predicted",
                         dictionary::predict(shape, dictionary::Form::streamed).bytes_sent}}
                       .dump()
                << std::endl;
    }
}

// The cost model, fitted to what one rank of one thread took: its product rate from a plain
// product, and one factor for all that a rank computes. Links are the model's own (10 GB/s, 5
// microseconds). Strong scaling: so many rows in all; weak: so many a rank.
void scaling(const Case& given, double iteration_s, double product_s) {
  const auto shape_of = [&](std::int64_t rows, int ranks) {
    return dictionary::FitShape{rows,       given.width,
                                given.rank, kept_per_feature(rows, density),
                                ranks,      dictionary::HalfProduct::speed()};
  };
  dictionary::Machine machine;
  machine.product_rate = 2.0 * static_cast<double>(given.width) * static_cast<double>(given.rows) *
                         static_cast<double>(given.rank) / product_s;
  auto alone = machine;
  alone.network_rate = std::numeric_limits<double>::infinity();
  alone.latency = 0;
  const auto seconds = [&](const dictionary::FitShape& shape, const dictionary::Machine& on) {
    return dictionary::predict(shape, dictionary::Form::streamed, on).seconds;
  };
  const double factor = iteration_s / seconds(shape_of(given.rows, 1), alone);
  for (int ranks = 1; ranks <= 1024; ranks *= 2) {
    json line{{"case", "scaling"}, {"ranks", ranks}, {"factor", factor}};
    for (const bool weak : {false, true}) {
      const auto shape = shape_of(weak ? given.rows * ranks : given.rows, ranks);
      const double computes = seconds(shape, alone), sends = seconds(shape, machine) - computes;
      line[weak ? "weak_s" : "strong_s"] = factor * computes + sends;
      line[weak ? "weak_sends_s" : "strong_sends_s"] = sends;
    }
    std::cout << line.dump() << std::endl;
  }
}

int run(int count, char** words) {
  const std::string what = count > 1 ? words[1] : "";
  const auto number = [&](int i) { return i < count ? std::atoll(words[i]) : 0; };
  const Case given{number(2), number(3), number(4), count > 5 ? words[5] : "",
                   count > 6 ? words[6] : "auto"};
  if (what == "iteration" && count >= 5) {
    iteration(given);
  } else if (what == "joint" && count >= 5) {
    cluster::Session session(cluster::SessionOptions{});
    at::set_num_threads(session.topology().threads);
    joint(given, session.world());
  } else if (what == "catalog" && count == 5) {
    cluster::Session session(cluster::SessionOptions{});
    at::set_num_threads(session.topology().threads);
    catalog(number(2), number(3), number(4), session);
  } else if (what == "bytes") {
    bytes();
  } else if (what == "scaling" && count == 7) {
    scaling(given, std::atof(words[5]), std::atof(words[6]));
  } else {
    std::fprintf(
        stderr,
        "usage: dictionary_bench iteration|joint|catalog|bytes|scaling ... (see the source)\n");
    return 64;
  }
  return 0;
}

}  // namespace

int main(int count, char** words) {
  return quench::bench::guarded("dictionary_bench", [&] { return run(count, words); });
}
