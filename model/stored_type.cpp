#include "model/stored_type.hpp"

#include <bit>
#include <cstring>

#include "cluster/error.hpp"

namespace quench::model {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors files are little-endian");

constexpr std::uint32_t sign_bit = 0x80000000U;
constexpr std::uint32_t infinity_bits = 0x7f800000U;

float bf16_to_float(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16U);
}

std::uint16_t float_to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & ~sign_bit) > infinity_bits) return static_cast<std::uint16_t>((bits >> 16U) | 0x40U);
  return static_cast<std::uint16_t>((bits + 0x7fffU + ((bits >> 16U) & 1U)) >> 16U);
}

// No branches, so that the loop in decode vectorises. A subnormal half is its mantissa in units of
// 2^-24; no subnormal float32 is formed on the way, so the processor's flush-to-zero mode is safe.
float f16_to_float(std::uint16_t bits) {
  const std::uint32_t magnitude = bits & 0x7fffU;
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000U) << 16U;
  const auto small = std::bit_cast<std::uint32_t>(
      static_cast<float>(static_cast<std::int32_t>(magnitude)) * 0x1p-24F);
  const std::uint32_t rebias = magnitude >= 0x7c00U ? 224U << 23U : 112U << 23U;
  const std::uint32_t normal = (magnitude << 13U) + rebias;
  return std::bit_cast<float>(sign | (magnitude < 0x400U ? small : normal));
}

std::uint16_t float_to_f16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>((bits & sign_bit) >> 16U);
  const std::uint32_t magnitude = bits & ~sign_bit;
  const auto with_sign = [&](std::uint32_t half) {
    return static_cast<std::uint16_t>(sign | half);
  };
  if (magnitude > infinity_bits) return with_sign(0x7e00U | ((magnitude >> 13U) & 0x3ffU));
  if (magnitude >= 0x477ff000U) return with_sign(0x7c00U);  // 65520 and more
  if (magnitude < 0x33000000U) return sign;                 // below 2^-25
  // The bits that do not fit: 13, and one more for each power of two below 2^-14.
  const std::uint32_t exponent = magnitude >> 23U;
  const std::uint32_t mantissa = (magnitude & 0x7fffffU) | 0x800000U;
  const std::uint32_t shift = exponent >= 113U ? 13U : 126U - exponent;
  const std::uint32_t kept =
      exponent >= 113U ? (magnitude >> 13U) - (112U << 10U) : mantissa >> shift;
  const std::uint32_t rest = mantissa & ((1U << shift) - 1U);
  const std::uint32_t half = 1U << (shift - 1U);
  return with_sign(kept + (rest > half || (rest == half && (kept & 1U) != 0) ? 1U : 0U));
}

template <typename Decode>
void decode_halves(const std::byte* stored, std::span<float> out, Decode decode_one) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, stored + 2 * i, 2);
    out[i] = decode_one(bits);
  }
}

template <typename Encode>
void encode_halves(std::span<const float> values, std::byte* out, Encode encode_one) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::uint16_t bits = encode_one(values[i]);
    std::memcpy(out + 2 * i, &bits, 2);
  }
}

}  // namespace

std::int64_t size_of(StoredType type) { return type == StoredType::f32 ? 4 : 2; }

std::string_view safetensors_name(StoredType type) {
  switch (type) {
    case StoredType::f32:
      return "F32";
    case StoredType::f16:
      return "F16";
    case StoredType::bf16:
      return "BF16";
  }
  throw InternalError("safetensors_name: not a stored type");
}

std::string_view torch_dtype_name(StoredType type) {
  switch (type) {
    case StoredType::f32:
      return "float32";
    case StoredType::f16:
      return "float16";
    case StoredType::bf16:
      return "bfloat16";
  }
  throw InternalError("torch_dtype_name: not a stored type");
}

void decode(StoredType type, std::span<const std::byte> stored, std::span<float> out) {
  if (stored.size() != out.size() * static_cast<std::size_t>(size_of(type)))
    throw InternalError("decode: sizes differ");
  switch (type) {
    case StoredType::f32:
      if (!out.empty()) std::memcpy(out.data(), stored.data(), stored.size());
      return;
    case StoredType::f16:
      return decode_halves(stored.data(), out, f16_to_float);
    case StoredType::bf16:
      return decode_halves(stored.data(), out, bf16_to_float);
  }
}

void encode(StoredType type, std::span<const float> values, std::span<std::byte> out) {
  if (out.size() != values.size() * static_cast<std::size_t>(size_of(type)))
    throw InternalError("encode: sizes differ");
  switch (type) {
    case StoredType::f32:
      if (!values.empty()) std::memcpy(out.data(), values.data(), out.size());
      return;
    case StoredType::f16:
      return encode_halves(values, out.data(), float_to_f16);
    case StoredType::bf16:
      return encode_halves(values, out.data(), float_to_bf16);
  }
}

float round_to(StoredType type, float value) {
  switch (type) {
    case StoredType::f32:
      return value;
    case StoredType::f16:
      return f16_to_float(float_to_f16(value));
    case StoredType::bf16:
      return bf16_to_float(float_to_bf16(value));
  }
  throw InternalError("round_to: not a stored type");
}

}  // namespace quench::model
