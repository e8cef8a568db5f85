#pragma once

// Inside stages/corpus only: the layout of corpus.h5 (docs/file-formats.md).
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "stages/corpus/pieces.hpp"

namespace quench::corpus {

inline constexpr const char* stage_name = "corpus";

// Collective. Writes corpus.h5 from pieces that any rank may read: piece c of concept c, the shared
// one last. Each rank reads and writes the block rows_of(concepts), the last one also the shared
// piece. Throws DataError.
void write_corpus(cluster::Communicator& comm, const std::filesystem::path& file,
                  const Inputs& inputs, const std::function<Piece(std::int64_t)>& piece);

}  // namespace quench::corpus
