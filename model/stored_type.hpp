#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace quench::model {

// How a checkpoint stores a number; the model itself is computed in float32.
enum class StoredType : std::uint8_t { f32, f16, bf16 };

std::int64_t size_of(StoredType type);          // bytes of a number
std::string_view safetensors_name(StoredType);  // "F32", "F16", "BF16"
std::string_view torch_dtype_name(StoredType);  // "float32", "float16", "bfloat16"

// stored: out.size() numbers of `type`, little-endian. Exact.
void decode(StoredType type, std::span<const std::byte> stored, std::span<float> out);
// Rounds to nearest, ties to even; beyond the type's range becomes infinite. out has
// values.size() * size_of(type) bytes.
void encode(StoredType type, std::span<const float> values, std::span<std::byte> out);

// One float32 number rounded to the stored type (to nearest even) and back.
float round_to(StoredType type, float value);

}  // namespace quench::model
