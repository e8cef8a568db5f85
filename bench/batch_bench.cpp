// Factorisations of several concepts in batches on one device, beside factorise() on the CPU one
// after the other. One line of JSON a batch size on standard output.
//
//   batch_bench CONCEPTS WIDTH ROWS RANK [cpu|cuda [BATCH...]]
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <list>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>

#include "bench/measure.hpp"
#include "bench/mixture.hpp"
#include "stages/dictionary/device_factorise.hpp"

namespace {

using namespace quench;
using dictionary::DeviceJob;
using dictionary::Fit;
using dictionary::Shard;

// Concepts of about `rows` tokens, in part the same ones.
std::list<Shard> make_shards(std::int64_t concepts, std::int64_t width, std::int64_t rows) {
  const auto vocabulary = bench::mixture(2 * rows, width, 1);
  std::list<Shard> shards;
  for (std::int64_t c = 0; c < concepts; ++c) {
    const auto count = rows - rows / 8 * c / concepts;
    const auto chosen = (at::arange(count, at::kLong) * 2 + c * 37).remainder(2 * rows);
    const auto part = vocabulary.index_select(0, chosen).contiguous();
    std::vector<std::int32_t> tokens(count);
    std::iota(tokens.begin(), tokens.end(), 0);
    const std::span<const float> numbers(part.const_data_ptr<float>(), part.numel());
    shards.push_back({dictionary::Rows(numbers, tokens, width, 1), 0, count});
  }
  return shards;
}

std::int64_t iterations_of(const Fit& fit) { return std::ssize(fit.objective); }

int run(int count, char** words) {
  if (count < 5) {
    std::fprintf(stderr, "usage: batch_bench CONCEPTS WIDTH ROWS RANK [cpu|cuda [BATCH...]]\n");
    return 64;
  }
  const auto number = [&](int i) { return std::atoll(words[i]); };
  const at::Device device(count > 5 ? words[5] : "cpu");
  std::vector<std::int64_t> sizes;
  for (int i = 6; i < count; ++i) sizes.push_back(number(i));
  if (sizes.empty()) sizes = {1, 4, 16};
  dictionary::Options options;
  options.rank = number(4);
  const auto shards = make_shards(number(1), number(2), number(3));
  const auto initial = dictionary::normal_initial(options, "bench");
  const auto self = cluster::make_self_communicator();
  std::vector<Fit> alone;
  const double alone_seconds = bench::seconds_of([&] {
    for (const auto& shard : shards) alone.push_back(factorise(shard, initial, options, *self));
  });
  std::vector<DeviceJob> jobs;
  for (const auto& shard : shards) jobs.push_back({shard.rows, initial});
  if (device.is_cuda()) factorise_batch(std::span(jobs).first(1), options, device);  // warm
  for (const auto size : sizes) {
    std::vector<std::optional<Fit>> fits;
    const double seconds = bench::seconds_of([&] {
      for (std::size_t first = 0; first < jobs.size(); first += size) {
        const auto part = std::span(jobs).subspan(first);
        for (auto& fit :
             factorise_batch(part.first(std::min<std::size_t>(size, part.size())), options, device))
          fits.push_back(std::move(fit));
      }
    });
    std::int64_t iterations = 0, alike = 0;
    double predicted = 0;
    for (std::size_t i = 0; i < fits.size(); ++i) {
      iterations += iterations_of(alone[i]);
      if (fits[i]) predicted += fits[i]->predicted_seconds;
      if (fits[i] && iterations_of(*fits[i]) == iterations_of(alone[i]) &&
          fits[i]->factors.rows == alone[i].factors.rows)
        ++alike;
    }
    std::cout << nlohmann::json{{"case", "batch"},
                                {"concepts", fits.size()},
                                {"width", number(2)},
                                {"rows", number(3)},
                                {"rank", options.rank},
                                {"device", device.str()},
                                {"threads", at::get_num_threads()},
                                {"batch", size},
                                {"iterations", iterations},
                                {"alone_s", alone_seconds},
                                {"batch_s", seconds},
                                {"batch_predicted_s", predicted},
                                {"alike", alike}}
                     .dump()
              << std::endl;
  }
  return 0;
}

}  // namespace

int main(int count, char** words) {
  return quench::bench::guarded("batch_bench", [&] { return run(count, words); });
}
