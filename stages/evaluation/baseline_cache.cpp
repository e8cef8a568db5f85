#include "stages/evaluation/baseline_cache.hpp"

#include <unistd.h>

#include <fstream>
#include <sstream>

#include "cluster/error.hpp"
#include "cluster/hash.hpp"
#include "cluster/log.hpp"
#include "stages/evaluation/codec.hpp"

namespace quench::evaluation {

namespace {

constexpr std::size_t digest_size = 64;
constexpr const char* layout = "baseline-4";  // of values and files; a new one has new names

template <typename T>
void add(cluster::Sha256& hash, const std::vector<T>& values) {
  hash.field({reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)});
}

std::string describe(const MeasureOptions& options) {
  const auto& a = options.asking;
  std::ostringstream text;
  text << layout << '/' << a.letter_generated << a.cut_response << a.cut_mark << a.open_line << '/'
       << a.open_tokens << '/' << a.instruction_tokens << '/' << a.letter_tokens << '/'
       << a.general_letter_tokens;
  return text.str();
}

}  // namespace

BaselineCache::BaselineCache(std::filesystem::path directory, const std::string& model_hash,
                             const MeasureOptions& options)
    : directory_(std::move(directory)), how_(describe(options)) {
  if (directory_.empty()) return;
  directory_ /= model_hash;
  std::error_code code;
  std::filesystem::create_directories(directory_, code);
  if (code)
    throw DataError("run.baseline_cache: " + directory_.string() +
                    " cannot be made: " + code.message());
}

std::filesystem::path BaselineCache::file_of(std::span<const Probe> probes) const {
  cluster::Sha256 hash;
  hash.field(how_);
  for (const auto& probe : probes) {
    hash.field(std::to_string(static_cast<int>(probe.kind)) +
               std::to_string(static_cast<int>(probe.subset)));
    add(hash, probe.context);
    hash.field(std::to_string(probe.continuations.size()));
    for (const auto& continuation : probe.continuations) add(hash, continuation);
    hash.field(std::to_string(probe.accepted.size()));
    for (const auto& form : probe.accepted) hash.field(form);
  }
  return directory_ / (hash.hex() + ".cbor");
}

std::optional<std::vector<Measurement>> BaselineCache::find(std::span<const Probe> probes) const {
  if (directory_.empty()) return std::nullopt;
  std::ifstream file(file_of(probes), std::ios::binary);
  if (!file) return std::nullopt;
  const std::string bytes(std::istreambuf_iterator<char>(file), {});
  if (bytes.size() < digest_size) return std::nullopt;
  const std::string_view body = std::string_view(bytes).substr(digest_size);
  if (cluster::sha256(body) != std::string_view(bytes).substr(0, digest_size)) return std::nullopt;
  auto measured = unpack(body);
  if (measured.size() != probes.size()) return std::nullopt;
  return measured;
}

void BaselineCache::keep(std::span<const Probe> probes,
                         std::span<const Measurement> measured) const {
  if (directory_.empty()) return;
  const auto target = file_of(probes);
  char host[64] = "";
  gethostname(host, sizeof host - 1);
  const std::filesystem::path draft =
      target.string() + "." + host + "." + std::to_string(getpid()) + ".draft";
  const auto body = pack(measured);
  {
    std::ofstream file(draft, std::ios::binary);
    file << cluster::sha256(body) << body;
    file.close();
    std::error_code code;
    if (file) std::filesystem::rename(draft, target, code);
    if (file && !code) return;
  }
  std::error_code ignored;
  std::filesystem::remove(draft, ignored);
  static const bool told = [&] {
    cluster::log_warning("run.baseline_cache: " + target.string() +
                         " cannot be written; base results are not shared");
    return true;
  }();
  static_cast<void>(told);
}

}  // namespace quench::evaluation
