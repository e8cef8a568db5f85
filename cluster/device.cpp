#include "cluster/device.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <map>
#include <set>

#include "cluster/collectives.hpp"
#include "cluster/error.hpp"

namespace quench::cluster {
namespace {

using Uuids = std::vector<std::string>;

// What each rank of `node` sees.
std::vector<Uuids> gather_uuids(Communicator& node, std::span<const Device> own) {
  std::string text;
  for (const auto& device : own) text += device.uuid + '\n';
  const auto all = all_gather(node, std::span<const char>(text));
  std::vector<Uuids> visible(node.size());
  for (int r = 0; r < node.size(); ++r) {
    std::string uuid;
    for (const char c : all.of(r)) {
      if (c != '\n') {
        uuid += c;
        continue;
      }
      visible[r].push_back(uuid);
      uuid.clear();
    }
  }
  return visible;
}

// The text of the lowest rank that has one, on all ranks.
std::string first_text(Communicator& world, const std::string& own) {
  const int first =
      all_reduce_value(world, own.empty() ? world.size() : std::int32_t{world.rank()}, Op::min);
  return first == world.size() ? "" : broadcast_string(world, first, own);
}

}  // namespace

std::string describe(const Device& device) {
  if (!device.is_cuda()) return device.name;
  return fmt::format("{}, {} GiB, {}", device.name, device.memory >> 30, device.uuid);
}

NodeDevices assign_devices(std::span<const std::vector<std::string>> visible) {
  NodeDevices node;
  std::map<std::string, std::vector<int>> ranks_of;
  for (int r = 0; r < std::ssize(visible); ++r) {
    const int devices = static_cast<int>(visible[r].size());
    node.index.push_back(devices == 0 ? -1 : r % devices);
    if (devices > 0) ranks_of[visible[r][node.index[r]]].push_back(r);
  }
  for (auto& [uuid, ranks] : ranks_of)
    if (ranks.size() > 1) node.sharing.push_back(std::move(ranks));
  std::ranges::sort(node.sharing);
  return node;
}

std::string device_problem(const std::string& host,
                           std::span<const std::vector<std::string>> visible,
                           const std::string& cuda_problem) {
  const auto node = assign_devices(visible);
  if (const auto blind = std::ranges::find(node.index, -1); blind != node.index.end())
    return fmt::format("{}: rank {} of the node sees no CUDA device{}", host,
                       blind - node.index.begin(),
                       cuda_problem.empty() ? "" : " (" + cuda_problem + ")");
  if (node.sharing.empty()) return "";
  std::set<std::string> distinct;
  for (const auto& uuids : visible) distinct.insert(uuids.begin(), uuids.end());
  const auto& ranks = node.sharing.front();
  return fmt::format(
      "{}: ranks {} of the node share the CUDA device {}: start at most {} a node, and let every "
      "rank see all devices of its node (no --gpu-bind, no --gpus-per-task)",
      host, fmt::join(ranks, ", "), visible[ranks[0]][node.index[ranks[0]]],
      distinct.size() == 1 ? "1 rank" : fmt::format("{} ranks", distinct.size()));
}

DeviceDecision choose_device(Communicator& world, Communicator& node, const std::string& host,
                             const std::string& choice) {
  if (choice == "cpu" || (choice == "auto" && !built_with_cuda())) return {};
  if (choice != "auto" && choice != "cuda")
    throw ConfigError("run.device = " + choice + ": choose auto, cpu or cuda");
  auto own = visible_devices();
  const auto visible = gather_uuids(node, own.devices);
  const auto problem = first_text(world, device_problem(host, visible, own.problem));
  if (!problem.empty() && choice == "auto") return {{}, problem + "; all ranks compute on the CPU"};
  agree(world, [&] {
    if (!problem.empty())
      throw ConfigError("run.device = cuda: " + problem + "; or choose run.device = cpu");
    own.devices = {own.devices[assign_devices(visible).index[node.rank()]]};
    make_current(own.devices[0]);
  });
  return {own.devices[0], ""};
}

}  // namespace quench::cluster
