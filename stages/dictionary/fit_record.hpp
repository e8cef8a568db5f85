#pragma once

#include <string>

#include "stages/dictionary/factorise.hpp"

namespace quench::dictionary {

// A Fit as CBOR, for the journal: an object of numbers, and arrays as little-endian byte strings.
std::string pack(const Fit& fit);
// Throws DataError when `record` is not one that pack() made.
Fit unpack(const std::string& record);

}  // namespace quench::dictionary
