#include "stages/factorisation/record.hpp"

#include <algorithm>
#include <bit>
#include <fstream>
#include <iterator>

#include "cluster/error.hpp"
#include "cluster/hash.hpp"
#include "cluster/log.hpp"
#include "cluster/posix.hpp"

namespace quench {

static_assert(std::endian::native == std::endian::little, "arrays are stored little-endian");

using nlohmann::json;

std::string to_cbor(const json& record) {
  std::string bytes;
  json::to_cbor(record, bytes);
  return bytes;
}

void save_record(const std::filesystem::path& file, const json& record) {
  auto bytes = to_cbor(record);
  bytes += cluster::Sha256().field(bytes).hex();
  auto partial = file;
  partial += ".partial";
  std::ofstream out(partial, std::ios::binary | std::ios::trunc);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  out.close();
  if (!out) {
    std::error_code ignored;
    std::filesystem::remove(partial, ignored);
    throw DataError(partial.string() + ": the checkpoint cannot be written; is the disk full?");
  }
  cluster::sync_file(partial);
  std::filesystem::rename(partial, file);
  cluster::sync_directory(file.parent_path());
}

std::optional<json> load_record(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return {};
  const std::string bytes{std::istreambuf_iterator<char>(in), {}};
  constexpr std::size_t checksum = 64;  // hex digits
  try {
    const auto body = bytes.substr(0, bytes.size() - std::min(bytes.size(), checksum));
    if (cluster::Sha256().field(body).hex() == bytes.substr(body.size()))
      return json::from_cbor(body);
  } catch (const json::exception&) {
  }
  cluster::log_warning(file.string() +
                       ": the checkpoint is damaged; its factorisation begins anew");
  return {};
}

}  // namespace quench
