#include "cluster/random.hpp"

#include <cmath>
#include <numbers>
#include <numeric>
#include <string>
#include <utility>

#include "cluster/hash.hpp"

namespace quench::cluster {

namespace {

__extension__ using Wide = unsigned __int128;

constexpr double kUnit = 0x1p-53;

std::pair<std::uint32_t, std::uint32_t> multiply(std::uint32_t a, std::uint32_t b) {
  const std::uint64_t product = std::uint64_t{a} * b;
  return {static_cast<std::uint32_t>(product >> 32), static_cast<std::uint32_t>(product)};
}

std::uint64_t join(std::uint32_t low, std::uint32_t high) {
  return (std::uint64_t{high} << 32) | low;
}

std::array<std::uint32_t, 4> counter_of(std::uint64_t index, std::uint64_t stream) {
  return {static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32),
          static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(stream >> 32)};
}

}  // namespace

std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter,
                                    std::array<std::uint32_t, 2> key) {
  constexpr int rounds = 10;
  for (int round = 0; round < rounds; ++round) {
    const auto [high0, low0] = multiply(0xD2511F53, counter[0]);
    const auto [high1, low1] = multiply(0xCD9E8D57, counter[2]);
    counter = {high1 ^ counter[1] ^ key[0], low1, high0 ^ counter[3] ^ key[1], low0};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

KeyedRandom::KeyedRandom(std::uint64_t seed, std::string_view purpose) {
  const auto digest = Sha256().field(std::to_string(seed)).field(purpose).hex();
  const std::uint64_t key = std::stoull(digest.substr(0, 16), nullptr, 16);
  key_ = {static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)};
  stream_ = std::stoull(digest.substr(16, 16), nullptr, 16);
}

std::uint64_t KeyedRandom::bits(std::uint64_t index) const {
  const auto block = philox(counter_of(index, stream_), key_);
  return join(block[0], block[1]);
}

std::array<std::uint32_t, 4> KeyedRandom::words(std::uint64_t index) const {
  return philox(counter_of(index, stream_), key_);
}

double KeyedRandom::uniform(std::uint64_t index) const {
  return static_cast<double>(bits(index) >> 11) * kUnit;
}

double KeyedRandom::normal(std::uint64_t index) const {
  const auto block = philox(counter_of(index, stream_), key_);
  // In (0, 1], so that the logarithm is finite.
  const double radius = static_cast<double>((join(block[0], block[1]) >> 11) + 1) * kUnit;
  const double angle = static_cast<double>(join(block[2], block[3]) >> 11) * kUnit;
  return std::sqrt(-2 * std::log(radius)) * std::cos(2 * std::numbers::pi * angle);
}

std::uint64_t KeyedRandom::below(std::uint64_t index, std::uint64_t bound) const {
  return static_cast<std::uint64_t>((Wide{bits(index)} * bound) >> 64);
}

std::vector<std::int64_t> KeyedRandom::permutation(std::int64_t n) const {
  std::vector<std::int64_t> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  for (std::int64_t i = n - 1; i > 0; --i) {
    const auto index = static_cast<std::uint64_t>(i);
    std::swap(order[index], order[below(index, index + 1)]);
  }
  return order;
}

}  // namespace quench::cluster
