#include "cluster/hash.hpp"

#include <fcntl.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

#include "cluster/error.hpp"
#include "cluster/posix.hpp"

namespace quench::cluster {

struct Sha256::Context {
  EVP_MD_CTX* evp = EVP_MD_CTX_new();
  ~Context() { EVP_MD_CTX_free(evp); }
};

namespace {

void check(int result) {
  if (result != 1) throw InternalError("OpenSSL cannot compute SHA-256");
}

}  // namespace

Sha256::Sha256() : context_(std::make_unique<Context>()) {
  check(EVP_DigestInit_ex(context_->evp, EVP_sha256(), nullptr));
}

Sha256::~Sha256() = default;

Sha256& Sha256::update(std::string_view bytes) {
  check(EVP_DigestUpdate(context_->evp, bytes.data(), bytes.size()));
  return *this;
}

Sha256& Sha256::field(std::string_view bytes) {
  std::array<char, 8> length{};
  for (std::size_t i = 0; i < length.size(); ++i)
    length[i] = static_cast<char>(static_cast<std::uint64_t>(bytes.size()) >> (8 * i));
  return update({length.data(), length.size()}).update(bytes);
}

std::string Sha256::hex() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  check(EVP_DigestFinal_ex(context_->evp, digest.data(), &size));
  check(EVP_DigestInit_ex(context_->evp, EVP_sha256(), nullptr));
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  for (unsigned int i = 0; i < size; ++i) {
    text += digits[digest[i] >> 4];
    text += digits[digest[i] & 15];
  }
  return text;
}

std::string sha256(std::string_view bytes) { return Sha256().update(bytes).hex(); }

std::string sha256_file(const std::filesystem::path& path) {
  const auto file = open_file(path, O_RDONLY);
  Sha256 hash;
  std::vector<char> block(1 << 20);
  for (;;) {
    const auto n = ::read(file.get(), block.data(), block.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw_errno(path, "cannot be read");
    if (n == 0) return hash.hex();
    hash.update({block.data(), static_cast<std::size_t>(n)});
  }
}

std::string safe_file_name(std::string_view name, std::string_view hash) {
  constexpr std::size_t longest = 40;
  constexpr std::size_t hash_digits = 10;
  const auto is_kept = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  };
  std::string safe;
  for (const char c : name) {
    if (is_kept(c))
      safe += c;
    else if (!safe.empty() && safe.back() != '_')
      safe += '_';
  }
  safe.resize(std::min(safe.size(), longest));
  if (!safe.empty() && safe.back() == '_') safe.pop_back();
  if (!safe.empty()) safe += '-';
  return safe.append(hash.substr(0, hash_digits));
}

}  // namespace quench::cluster
