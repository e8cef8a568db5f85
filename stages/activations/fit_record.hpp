#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "stages/activations/semi_nmf.hpp"

// What is kept of factorisations outside of activations.h5. Local.
namespace quench::activations {

// For the journal.
std::string pack(const Fit& fit);
// Throws DataError when `record` is not one that pack() made.
Fit unpack(const std::string& record);

// A checkpoint inside a factorisation. Throws DataError when it cannot be written.
void save_state(const std::filesystem::path& file, const FitState& state);
// Nothing when there is no such file, or when it is damaged (told in the log): the fit then begins
// anew.
std::optional<FitState> load_state(const std::filesystem::path& file);

}  // namespace quench::activations
