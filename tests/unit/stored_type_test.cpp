#include "model/stored_type.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

namespace quench::model {
namespace {

struct Half {
  StoredType ours;
  at::ScalarType torch;
};
class HalfTypes : public ::testing::TestWithParam<Half> {};

bool same(float a, float b) {
  return (std::isnan(a) && std::isnan(b)) ||
         std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b);
}

// All 65536 patterns: subnormal numbers, both zeros, infinities, NaN.
TEST_P(HalfTypes, DecodesEveryPatternAsTorch) {
  std::vector<std::uint16_t> patterns(1 << 16);
  for (std::size_t i = 0; i < patterns.size(); ++i) patterns[i] = static_cast<std::uint16_t>(i);
  std::vector<float> ours(patterns.size());
  decode(GetParam().ours, std::as_bytes(std::span(patterns)), ours);
  const auto theirs = at::from_blob(patterns.data(), {1 << 16}, GetParam().torch).to(at::kFloat);
  for (std::size_t i = 0; i < ours.size(); ++i)
    ASSERT_TRUE(same(ours[i], theirs.const_data_ptr<float>()[i])) << "pattern " << i;
}

// Around every number that the type has: itself, the halfway points and their neighbours.
TEST_P(HalfTypes, EncodesAsTorchRounds) {
  std::vector<float> values;
  for (std::uint32_t high = 0; high < (1U << 16); ++high)
    for (const std::uint32_t low :
         {0U, 1U, 0x0fffU, 0x1000U, 0x1001U, 0x2000U, 0x3000U, 0x7fffU, 0x8000U, 0x8001U, 0xffffU})
      values.push_back(std::bit_cast<float>(high << 16U | low));
  const auto count = std::ssize(values);
  std::vector<std::uint16_t> ours(values.size());
  encode(GetParam().ours, values, std::as_writable_bytes(std::span(ours)));
  const auto theirs = at::from_blob(values.data(), {count}, at::kFloat).to(GetParam().torch);
  const auto* bits = static_cast<const std::uint16_t*>(theirs.const_data_ptr());
  const auto back = theirs.to(at::kFloat);
  for (std::size_t i = 0; i < values.size(); ++i) {
    ASSERT_TRUE(std::isnan(values[i]) || ours[i] == bits[i]) << values[i] << " " << ours[i];
    ASSERT_TRUE(same(round_to(GetParam().ours, values[i]), back.const_data_ptr<float>()[i]))
        << values[i];
  }
}

INSTANTIATE_TEST_SUITE_P(All, HalfTypes,
                         ::testing::Values(Half{StoredType::f16, at::kHalf},
                                           Half{StoredType::bf16, at::kBFloat16}));

TEST(StoredTypes, Float32IsKeptBitForBit) {
  const std::vector<float> values = {1.1F, -0.0F, std::numeric_limits<float>::denorm_min(),
                                     std::numeric_limits<float>::infinity()};
  std::vector<float> stored(values.size()), back(values.size());
  encode(StoredType::f32, values, std::as_writable_bytes(std::span(stored)));
  decode(StoredType::f32, std::as_bytes(std::span(stored)), back);
  for (std::size_t i = 0; i < values.size(); ++i) {
    EXPECT_TRUE(same(values[i], back[i]));
    EXPECT_TRUE(same(values[i], round_to(StoredType::f32, values[i])));
  }
}

}  // namespace
}  // namespace quench::model
