#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "cluster/store.hpp"
#include "stages/dictionary/factorise.hpp"

namespace quench::dictionary {

// A G_0 that the user gives: an HDF5 file (docs/file-formats.md, "initial.h5") of token ids and
// their rows of coefficients, from which every factorisation takes the rows of its tokens. Local.
class InitialFile {
 public:
  // Reads the token ids. Throws DataError naming the file: damaged, a shape other than [tokens,
  // rank], ids that do not ascend or are outside of the vocabulary.
  InitialFile(const std::filesystem::path& file, std::int64_t rank, std::int64_t vocab);

  // Throws DataError with the number of tokens that the file lacks, and the first of them.
  void require(std::span<const std::int32_t> tokens) const;

  // Row i is that of tokens[i]; read when asked for, from this file, which must outlive it. Throws
  // DataError for a number that is not finite. tokens ascend, and must outlive it.
  InitialRows rows_of(std::span<const std::int32_t> tokens) const;

 private:
  std::filesystem::path file_;
  cluster::StoreReader store_;
  std::int64_t rank_;
  std::vector<std::int32_t> tokens_;  // ascending
};

// Collective. G_0 as dictionary.init says; `tokens` are those of all rows, and file is null unless
// it says `file`. The shard, the tokens and the file must outlive it.
InitialRows initial_rows(const Shard& shard, std::span<const std::int32_t> tokens,
                         const Options& options, const std::string& purpose,
                         const InitialFile* file, cluster::Communicator& group);

}  // namespace quench::dictionary
