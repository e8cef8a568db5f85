#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "stages/catalog_types.hpp"

namespace quench::tasks {

// The random numbers of Python's random.Random(seed): MT19937, seeded by init_by_array.
class PythonRandom {
 public:
  explicit PythonRandom(std::uint32_t seed);
  std::uint32_t bits(int count);             // getrandbits, 1 to 32
  std::uint32_t below(std::uint32_t bound);  // _randbelow
  // order[i]: which element random.shuffle puts at place i.
  std::vector<std::int64_t> shuffled(std::int64_t count);

 private:
  std::uint32_t next();
  std::array<std::uint32_t, 624> state_{};
  std::size_t index_ = 624;
};

// The paper's identity of a question (methods 7.2), a SHA-256 in hex.
std::string paper_item_id(const std::string& concept_name, Subset subset,
                          const corpus::Question& question);
// The seed of its options' order.
std::uint32_t paper_seed(const std::string& item_id);

// Which option stands at each letter. "paper": as the reference shuffles a concept's questions, and
// general ones not at all; "keyed": keyed by `key` and the question.
std::vector<std::int64_t> letter_order(const std::string& rule, const std::string& key,
                                       const std::string& concept_name, Subset subset,
                                       const corpus::Question& question);

}  // namespace quench::tasks
