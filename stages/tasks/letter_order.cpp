#include "stages/tasks/letter_order.hpp"

#include <openssl/evp.h>

#include <bit>
#include <cstdio>
#include <numeric>
#include <string_view>

#include "cluster/error.hpp"
#include "cluster/hash.hpp"
#include "cluster/random.hpp"

namespace quench::tasks {

namespace {

std::string stripped(std::string_view text) {
  constexpr std::string_view blank = " \t\n\r\f\v";
  const auto begin = text.find_first_not_of(blank);
  if (begin == std::string_view::npos) return "";
  return std::string(text.substr(begin, text.find_last_not_of(blank) - begin + 1));
}

// The first four bytes of the text's SHA-1, the first one highest.
std::uint32_t sha1_head(const std::string& text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int length = 0;
  if (EVP_Digest(text.data(), text.size(), digest.data(), &length, EVP_sha1(), nullptr) != 1)
    throw InternalError("OpenSSL: EVP_Digest of SHA-1 failed");
  std::uint32_t head = 0;
  for (int i = 0; i < 4; ++i) head = head << 8 | digest[static_cast<std::size_t>(i)];
  return head;
}

}  // namespace

// CPython's random_seed() with a key of one word (Matsumoto and Nishimura's init_by_array).
PythonRandom::PythonRandom(std::uint32_t seed) {
  constexpr std::size_t n = 624;
  auto& s = state_;
  s[0] = 19650218U;
  for (std::size_t i = 1; i < n; ++i)
    s[i] = 1812433253U * (s[i - 1] ^ (s[i - 1] >> 30)) + static_cast<std::uint32_t>(i);
  std::size_t i = 1;
  const auto wrap = [&] {
    if (++i < n) return;
    s[0] = s[n - 1];
    i = 1;
  };
  for (std::size_t k = 0; k < n; ++k, wrap())
    s[i] = (s[i] ^ ((s[i - 1] ^ (s[i - 1] >> 30)) * 1664525U)) + seed;
  for (std::size_t k = 0; k + 1 < n; ++k, wrap())
    s[i] = (s[i] ^ ((s[i - 1] ^ (s[i - 1] >> 30)) * 1566083941U)) - static_cast<std::uint32_t>(i);
  s[0] = 0x80000000U;
}

std::uint32_t PythonRandom::next() {
  constexpr std::size_t n = 624, m = 397;
  if (index_ == n) {
    for (std::size_t i = 0; i < n; ++i) {
      const std::uint32_t y = (state_[i] & 0x80000000U) | (state_[(i + 1) % n] & 0x7fffffffU);
      state_[i] = state_[(i + m) % n] ^ (y >> 1) ^ ((y & 1U) != 0 ? 0x9908b0dfU : 0U);
    }
    index_ = 0;
  }
  std::uint32_t y = state_[index_++];
  y ^= y >> 11;
  y ^= (y << 7) & 0x9d2c5680U;
  y ^= (y << 15) & 0xefc60000U;
  return y ^ (y >> 18);
}

std::uint32_t PythonRandom::bits(int count) { return next() >> (32 - count); }

std::uint32_t PythonRandom::below(std::uint32_t bound) {
  const int width = std::bit_width(bound);
  std::uint32_t drawn = bits(width);
  while (drawn >= bound) drawn = bits(width);
  return drawn;
}

std::vector<std::int64_t> PythonRandom::shuffled(std::int64_t count) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  for (std::size_t i = order.size(); i-- > 1;)
    std::swap(order[i], order[below(static_cast<std::uint32_t>(i + 1))]);
  return order;
}

std::string paper_item_id(const std::string& concept_name, Subset subset,
                          const corpus::Question& question) {
  std::string text = "concept=" + concept_name +
                     "||subset=" + (subset == Subset::own ? "QA" : "SimdomQA") +
                     "||split=" + (question.split == Split::train ? "train" : "test") +
                     "||question=" + stripped(question.question) +
                     "||correct_answer=" + stripped(question.answer) + "||options=";
  for (std::size_t i = 0; i < question.options.size(); ++i)
    text += (i == 0 ? "" : "|") + question.options[i];
  return cluster::sha256(text);
}

std::uint32_t paper_seed(const std::string& item_id) { return 42U + sha1_head(item_id); }

std::vector<std::int64_t> letter_order(const std::string& rule, const std::string& key,
                                       const std::string& concept_name, Subset subset,
                                       const corpus::Question& question) {
  const auto count = static_cast<std::int64_t>(question.options.size());
  if (rule != "paper")
    return cluster::KeyedRandom(0, "corpus.letters/" + key + "/" + question.question)
        .permutation(count);
  if (subset != Subset::general)
    return PythonRandom(paper_seed(paper_item_id(concept_name, subset, question))).shuffled(count);
  std::vector<std::int64_t> as_given(static_cast<std::size_t>(count));
  std::iota(as_given.begin(), as_given.end(), 0);
  return as_given;
}

}  // namespace quench::tasks
