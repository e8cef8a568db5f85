#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "stages/types.hpp"

namespace quench::evaluation {

// Measurements as bytes, for journals and between ranks of one build.
std::string pack(std::span<const Measurement> measurements);
std::vector<Measurement> unpack(std::string_view bytes);

}  // namespace quench::evaluation
